"""A repository of a user's own: the same folders as ours, with one small example of each file (`agentstorm init`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.errors import PlanError
from harness.schemas import schema

if TYPE_CHECKING:
    from pathlib import Path

_TARGET = """\
# yaml-language-server: $schema=../schemas/target.json
# The system under test. It runs already; agentstorm puts a proxy in front of what it calls.
target: mine
about: An agent backend on this machine, port 8000
# version: ${env.GIT_SHA}             # for the head of the report; runs of two versions can be compared
system: {kind: external}            # or processes, or compose: agentstorm brings it up then
url: http://127.0.0.1:8000
# allow_hosts: [staging.example.com]  # any host but this one must be named: it will be loaded, and broken

# Start your system with OPENAI_BASE_URL=http://127.0.0.1:9402/v1, so that it calls the proxy (`listen`), which calls
# the provider (`address`): a simulator, or a forwarder that speaks TLS to a real one. The proxy is there only while a
# run lasts: afterwards, point your system back.
upstreams:
  openai: {address: "127.0.0.1:9002", listen: "127.0.0.1:9402"}

# How an answer is read. Leave out what your system does not show; nothing is guessed.
observe:
  provider: "header:x-llm-provider"
  tokens_in: "json:$.usage.prompt_tokens"
  tokens_out: "json:$.usage.completion_tokens"
  error: "json:$.error"
  answer: "json:$.choices[0].message.content"

# One cheap request, sent at a fixed rate beside the load: failover times are measured with it. Each one asks your
# provider: 2/s is 7,200 calls an hour, on top of the load. While users hang, times are no finer than 1/rate.
probe:
  path: /v1/chat/completions
  body: {model: gpt-4, max_tokens: 8, messages: [{role: user, content: "Say one word. ${n}"}]}
  rate: 2/s
"""

_SCENARIO = """\
# yaml-language-server: $schema=../schemas/scenario.json
# The load, and what must hold.
scenario: first
about: 20 users for two minutes
workload: first.py
load: {kind: users, users: 20, spawn: 5/s, warmup: 10s, hold: 2m}
thresholds:
  response_time: ["p(95)<5s"]
  request_failed: ["rate<0.05"]
"""

_WORKLOAD = '''\
"""What one user does: a plain Locust file (https://docs.locust.io), which also runs under bare `locust -f`."""

from locust import FastHttpUser, between, task


class User(FastHttpUser):
    wait_time = between(2, 8)

    @task
    def ask(self) -> None:
        body = {"model": "gpt-4", "messages": [{"role": "user", "content": "What is our refund policy?"}]}
        self.client.post("/v1/chat/completions", json=body, name="ask", headers={"Authorization": "Bearer test-only"})
'''

_EXPERIMENT = """\
# yaml-language-server: $schema=../schemas/experiment.json
# What is taken away, and when: seconds after the warm-up.
experiment: openai-hangs
about: OpenAI accepts connections and never answers, for half a minute
faults:
  - {kind: blackhole, upstream: openai, at: 30s, for: 30s}
abort: ["request_failed: rate>0.5 over 20s"]
thresholds:
  recovery_time: ["max<5s"]
"""

_TEST = '''\
"""The same as a test: `pytest tests/test_storm.py`."""


def test_survives_a_hanging_provider(agentstorm):
    result = agentstorm.run("first", chaos="openai_hangs", target="mine")
    result.assert_pass()
    result.check("p(95)<8s", metric="response_time", phase="fault")
'''

FILES = {
    "targets/mine.yaml": _TARGET,
    "scenarios/first.yaml": _SCENARIO,
    "scenarios/first.py": _WORKLOAD,
    "chaos/openai_hangs.yaml": _EXPERIMENT,
    "tests/test_storm.py": _TEST,
    "reports/.gitignore": "*\n",
}
_SCHEMAS = ("target", "scenario", "experiment")


def make(folder: Path) -> list[Path]:
    """Write the files and the schemas they name below `folder`, and return them; PlanError, and nothing is written,
    when one is there already."""
    texts = dict(FILES)
    for name in _SCHEMAS:
        texts[f"schemas/{name}.json"] = json.dumps(schema(name), indent=1) + "\n"
    if there := [name for name in texts if (folder / name).exists()]:
        raise PlanError(
            f"{', '.join(there)}: there already", where=str(folder), hint="nothing was written; give another folder"
        )
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
