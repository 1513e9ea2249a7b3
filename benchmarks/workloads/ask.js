// What benchmarks/workloads/ask.py does, for k6 (BENCH_USERS, BENCH_SECONDS and BENCH_URL are its settings).
import http from "k6/http";

export const options = {
  scenarios: { ask: { executor: "constant-vus", vus: Number(__ENV.BENCH_USERS), duration: `${__ENV.BENCH_SECONDS}s` } },
};

const BODY = JSON.stringify({
  input: "Chair: third item, office move. Carl: the lease ends in March. Chair: Dana, get two offers by May.",
});

export default function () {
  http.post(`${__ENV.BENCH_URL}/ask`, BODY, {
    headers: { "Content-Type": "application/json", "X-MCP-Tenant-ID": "meetmind" },
    tags: { name: "meetmind/coordinator/ask", team: "meetmind", agent: "meetmind.coordinator" },
  });
}
