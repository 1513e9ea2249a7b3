// What runs inside k6: the plan's load around a plain k6 workload, and an account of every request.
//
// A workload is a plain k6 script: `import http from "k6/http"`, and a default function that runs one task. This file
// is imported before it, and puts a measured version of each function into the `k6/http` object that both share. What
// happens is told to the harness (`k6_samples.py`) as samples of counters of ours: k6 stamps each with its own clock,
// in ns, and carries our JSON along as the sample's metadata, which no aggregation indexes.
//
//   agentstorm_arrival  an iteration of an open loop began {start_ms}, first one  value: its number
//   agentstorm_begin    a request is about to be sent  {name, team, ...}         value: its request id
//   agentstorm_end      it is over  {status, headers, body, ...}                 value: its request id
//   agentstorm_silent   an iteration of an open loop ended without a request     value: its number
//   agentstorm_error    the workload raised  {error}
//   agentstorm_tick     the watch woke up                                        value: ms it wanted to sleep
//   agentstorm_user     a user of a closed loop began (1) or left (-1)

import { randomSeed, sleep } from "k6";
import exec from "k6/execution";
import http from "k6/http";
import { Counter } from "k6/metrics";
import { SharedArray } from "k6/data";

// `k6_engine.py`, _order. Read once, shared by all VUs; what is taken out of it is a copy, so users take their own only.
const given = () => JSON.parse(open(__ENV.AGENTSTORM_ORDER));
const order = new SharedArray("agentstorm", () => [Object.assign(given(), { lives_ms: undefined })])[0];
const lives = new SharedArray("agentstorm users", () => given().lives_ms);
const counters = {};
for (const what of ["arrival", "begin", "end", "silent", "error", "tick", "user"]) {
  counters[what] = new Counter(`agentstorm_${what}`);
}
const TICK_S = 0.05;
const BODY_LIMIT = 1 << 20, BODY_HEAD = 1 << 19, BODY_TAIL = 1 << 16;
const PER_VU = 2 ** 24; // request ids: stream, VU, count

let begin = null; // what `setup` returned: {url, start_ms, end_ms, vus}
let until_ms = 0; // when the load, or the user of this VU, is to send no more
let timeout = "";
let sent = 0; // requests of this VU
let owed = -1; // the arrival whose request has not been sent yet
const raw = { request: http.request };
const over = new Error("the load is over"); // ends the task of a workload that tries another request

function tell(what, value, data) {
  if (data !== undefined) exec.vu.metrics.metadata.agentstorm = JSON.stringify(data);
  counters[what].add(value);
  if (data !== undefined) delete exec.vu.metrics.metadata.agentstorm;
}

// --- requests

function hex(number) {
  return number.toString(16).padStart(16, "0");
}

// Why a request may not be sent there, "" when it may: as `harness.hosts` and `locust_hosts` say it. What cannot be read
// for certain is foreign.
function refusal(address) {
  const found = /^https?:\/\/([^/?#\\\s]*)(?=[/?#]|$)/i.exec(address);
  const host = found ? found[1].replace(/^.*@/, "").replace(/:\d*$/, "").toLowerCase() : "";
  const local = /^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(host.replace(/\.$/, ""));
  if (local || (host && order.allow_hosts.indexOf(host.replace(/[[\]]/g, "")) >= 0)) return "";
  return `not sent: ${host || address} is neither this machine nor in the target's allow_hosts`;
}

function opened(method, where, params) {
  const given = typeof where === "object" ? where : { url: String(where), name: "" };
  if (owed < 0 && ended()) throw over;
  const own = given.url.startsWith("/");
  const address = own ? begin.url + given.url : given.url;
  const name = (params && params.tags && params.tags.name) || given.name || given.url.replace(begin.url, "");
  const id = order.first_id + exec.vu.idInTest * PER_VU + sent++;
  const headers = Object.assign({}, params && params.headers);
  if (!Object.keys(headers).some((key) => key.toLowerCase() === "traceparent")) {
    headers.traceparent = `00-${order.run_id}${hex(id)}-${hex(id)}-01`;
  }
  const tags = (params && params.tags) || {};
  tell("begin", id, { name, team: tags.team, agent: tags.agent, tenant: tags.tenant, arrival: owed });
  owed = -1;
  exec.vu.metrics.metadata.agentstorm_id = String(id);
  // Without tags: ours say it all, and cost k6 no time series. A redirect may lead anywhere: it is the answer.
  return { id, own, address, params: Object.assign({ timeout }, params, { headers, tags: {}, redirects: 0 }) };
}

// Length in UTF-8: every byte that is not a plain letter becomes %XX.
function bytes(text) {
  try {
    const encoded = encodeURIComponent(text);
    return encoded.length - 2 * (encoded.split("%").length - 1);
  } catch (error) {
    return text.length; // half an emoji: nobody can say how long that is
  }
}

function closed(id, response) {
  delete exec.vu.metrics.metadata.agentstorm_id;
  let body = typeof response.body === "string" ? response.body : "";
  let cut = 0;
  if (body.length > BODY_LIMIT) {
    cut = body.length;
    body = body.slice(0, BODY_HEAD) + body.slice(-BODY_TAIL);
  }
  const request = response.request && response.request.body;
  tell("end", id, {
    status: response.status,
    headers: response.headers,
    body,
    cut,
    sent: typeof request === "string" ? bytes(request) : 0,
    error: response.error,
    code: response.error_code,
    receiving: response.timings.receiving,
  });
  return response;
}

function broken(id, error) {
  delete exec.vu.metrics.metadata.agentstorm_id;
  tell("end", id, { status: 0, headers: {}, body: "", error: String((error && error.message) || error), code: 0 });
  throw error;
}

function request(method, where, body, params) {
  const it = opened(method, where, params);
  const refused = it.own ? "" : refusal(it.address);
  if (refused) broken(it.id, new Error(refused));
  let response;
  try {
    response = raw.request(method, it.address, body, it.params);
  } catch (error) {
    broken(it.id, error);
  }
  return closed(it.id, response);
}

function unrecorded(what) {
  return () => {
    throw new Error(`http.${what} cannot be recorded: use http.request, http.get, http.post ...`);
  };
}

Object.assign(http, {
  request,
  get: (where, params) => request("GET", where, null, params),
  head: (where, params) => request("HEAD", where, null, params),
  post: (where, body, params) => request("POST", where, body, params),
  put: (where, body, params) => request("PUT", where, body, params),
  patch: (where, body, params) => request("PATCH", where, body, params),
  del: (where, body, params) => request("DELETE", where, body, params),
  options: (where, body, params) => request("OPTIONS", where, body, params),
  asyncRequest: unrecorded("asyncRequest"), // its samples cannot be told from those of its neighbours
  batch: unrecorded("batch"),
});

// --- the load

// The options of the test: the plan's load, and room for what is in flight while every answer takes as long as it may.
export function options(workload) {
  if (typeof workload.default !== "function") throw new Error("it exports no default function");
  for (const name of ["setup", "teardown"]) {
    if (workload[name]) throw new Error(`it exports ${name}, which would not be run: do it in the default function`);
  }
  const longest = workload.timeout || order.longest_s;
  const load = Object.assign({}, order.scenario);
  if (order.rate) {
    load.preAllocatedVUs = Math.min(order.max_in_flight, Math.ceil(order.rate * longest) + 1);
    load.maxVUs = load.preAllocatedVUs;
  }
  const theirs = Object.assign({}, workload.options);
  for (const key of ["thresholds", "vus", "duration", "iterations", "stages", "ext", "cloud"]) delete theirs[key];
  return Object.assign(theirs, {
    scenarios: {
      load: Object.assign(load, { exec: "task" }),
      watch: { executor: "externally-controlled", exec: "watch", vus: 1, maxVUs: 1, duration: order.watch },
    },
    systemTags: ["scenario"], // a tag that differs from request to request would be kept in memory for ever
    setupTimeout: "24h",
    discardResponseBodies: false, // what an answer says is read off its body
  });
}

// Every VU is there: say so, and wait for the word to begin, which carries what only then is known.
export function setup(workload) {
  const load = exec.test.options.scenarios.load;
  const vus = load.preAllocatedVUs || load.vus;
  const about = { vus, timeout_s: workload.timeout || order.longest_s };
  const answer = raw.request("POST", order.control, JSON.stringify(about), { timeout: "24h" });
  const word = Object.assign(JSON.parse(answer.body), { vus });
  sleep(Math.max(0, (word.start_ms - order.lead_ms - Date.now()) / 1000));
  return word;
}

function stopped() {
  return exec.instance.vusInitialized > begin.vus + 1; // the harness has k6 make one VU more when the load is to stop
}

function ended() {
  return Date.now() >= until_ms || stopped();
}

function run(workload) {
  try {
    workload.default();
  } catch (error) {
    if (error === over) return;
    tell("error", 1, { error: `${(error && error.name) || "Error"}: ${(error && error.message) || error}` });
    console.error((error && error.stack) || String(error));
  }
}

function arrival(workload) {
  const number = exec.scenario.iterationInTest;
  if (number >= order.count || stopped()) return;
  tell("arrival", number, number ? undefined : { start_ms: exec.scenario.startTime + order.lead_ms });
  randomSeed(order.seed + number);
  owed = number;
  run(workload);
  if (owed >= 0) tell("silent", number);
  owed = -1;
}

// In steps, so that a stop finds nobody asleep for long.
function sleepUntil(moment_ms) {
  for (let left = moment_ms - Date.now(); left > 0 && !stopped(); left = moment_ms - Date.now()) {
    sleep(Math.min(left, 250) / 1000);
  }
}

function user(workload) {
  const number = exec.scenario.iterationInTest;
  const [starts, leaves] = lives[number];
  until_ms = begin.start_ms + leaves;
  sleepUntil(Math.min(begin.start_ms + starts, until_ms));
  if (ended()) return;
  randomSeed(order.seed + number);
  tell("user", 1);
  while (!ended()) {
    run(workload);
    if (workload.think) sleepUntil(Math.min(Date.now() + workload.think() * 1000, until_ms));
  }
  tell("user", -1);
}

export function task(workload, word) {
  if (begin === null) {
    begin = word;
    until_ms = word.end_ms;
    timeout = `${workload.timeout || order.longest_s}s`;
  }
  (order.rate ? arrival : user)(workload);
}

// Sleeps, and tells when it woke up: k6 itself is that late, and so are its other VUs.
export function watch() {
  for (;;) {
    sleep(TICK_S);
    tell("tick", TICK_S * 1000);
  }
}
