// What benchmarks/workloads/think.py does, for k6.
import http from "k6/http";

export const timeout = 5;

export function think() {
  return 2 + 8 * Math.random();
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

export default function () {
  const delay = 50 * Math.exp(0.5 * normal());
  http.post(`/ms/${delay.toFixed(3)}`, JSON.stringify({ input: "?" }), { tags: { name: "ask" } });
}
