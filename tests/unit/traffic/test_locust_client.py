"""What stands in for geventhttpclient's and http.cookiejar's own parts does what they do.

In a process of its own: importing what is tested has gevent patch the process.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap


def passes(script: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_known_url_has_the_parts_of_an_unknown_one() -> None:
    passes("""
    from geventhttpclient.url import URL
    from harness.traffic.locust_client import KnownUrl
    parts = "scheme netloc hostname host port request_uri quoted_uri path query username password quoted".split()
    for text in ("http://a.b:81/c d;e?f=g h#i", "https://u:p@x/", "http://[::1]:8000", "http://x/\u00e5?\u00e4=\u00f6"):
        known, plain = KnownUrl(text), URL(text)
        for part in parts * 2:
            assert getattr(known, part) == getattr(plain, part), (text, part)
        assert str(known) == str(plain) and known == plain and tuple(known) == tuple(plain)
        assert known.redirect("../z?q=1") == plain.redirect("../z?q=1")
    """)


def test_cookies_are_kept_and_sent_as_by_the_jar_it_stands_in_for() -> None:
    passes("""
    import gevent.monkey; gevent.monkey.patch_all()
    from http.cookiejar import CookieJar
    from geventhttpclient.header import Headers
    from geventhttpclient.useragent import CompatRequest
    from harness.traffic.locust_client import LazyCookieJar

    class Response:
        def __init__(self, headers): self.headers = headers
        def info(self): return self.headers

    def told(jar):
        seen = []
        for setting in ({}, {"Set-Cookie": "a=1; Path=/"}, {}, {"Set-Cookie": "a=; Max-Age=0"}, {}):
            request = CompatRequest("http://h/x", headers=Headers())
            jar.add_cookie_header(request)
            seen.append(request.headers.get("cookie"))
            jar.extract_cookies(Response(Headers(setting)), request)
        return seen

    assert told(LazyCookieJar()) == told(CookieJar()) == [None, None, "a=1", "a=1", None]
    """)


def test_a_kept_connection_is_alive_until_there_is_something_to_read_even_its_end() -> None:
    passes("""
    import types
    import gevent.socket
    from harness.traffic.locust_client import is_alive
    pool = types.SimpleNamespace(taken=None)
    ours, theirs = gevent.socket.socketpair()
    assert is_alive(pool, ours) and is_alive(pool, ours) and pool.taken is ours
    theirs.sendall(b"x"); pool.taken = None; assert not is_alive(pool, ours) and pool.taken is None
    assert ours.recv(10) == b"x" and is_alive(pool, ours)
    theirs.close(); assert not is_alive(pool, ours)
    ours.close(); assert not is_alive(pool, ours) and not is_alive(pool, None)
    """)


def test_statistics_stay_bounded_whatever_names_and_errors_come() -> None:
    passes("""
    from locust.env import Environment
    from harness.traffic.locust_stats import Statistics
    environment = Environment()
    environment.create_local_runner()
    statistics = Statistics(environment)
    environment.events.request.fire(request_type="GET", name="n", response_time=1, response_length=1, exception=None)
    assert environment.stats.total.num_requests == 0, "Locust counts no more"
    for i in range(5000):
        statistics.add("GET", f"name {i}", 10.0 + i, 7, f"error {i}" if i % 2 else None)
        if i % 100 == 0:
            statistics.settle()
    statistics.settle()
    stats = environment.stats
    assert stats.total.num_requests == 5000 and stats.total.num_failures == 2500
    assert (stats.total.min_response_time, stats.total.max_response_time) == (10.0, 5009.0)
    assert stats.total.total_content_length == 35000 and sum(stats.total.response_times.values()) == 5000
    assert sum(e.num_requests for e in stats.entries.values()) == 5000 and len(stats.entries) == 1001
    assert sum(e.occurrences for e in stats.errors.values()) == 2500 and len(stats.errors) == 1001
    assert sum(stats.total.num_reqs_per_sec.values()) == 5000
    """)
