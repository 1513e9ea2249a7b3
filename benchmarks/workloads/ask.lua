-- What benchmarks/workloads/ask.py does, for wrk.
wrk.method = "POST"
wrk.body = '{"input": "Chair: third item, office move. Carl: the lease ends in March. Chair: Dana, get two offers by May."}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-MCP-Tenant-ID"] = "meetmind"
