"""The reference agent system (`reference.gateway`) and the provider simulators (`reference.provider`).

It is what `agentstorm` measures out of the box. It never imports `harness`; the two speak HTTP.
"""
