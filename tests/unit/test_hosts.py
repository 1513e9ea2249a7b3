"""Which addresses traffic may go to, by their spelling alone."""

from __future__ import annotations

import socket

import pytest

from harness.errors import PlanError
from harness.hosts import host_of, is_local, refuse_foreign, split_port


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.localhost",
        "127.0.0.1",
        "127.8.9.10",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
    ],
)
def test_loopback_is_local(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    [
        "example.com", "localhost.example.com", "mylocalhost", "127.0.0.1.example.com", "10.0.0.1", "192.168.1.1",
        "0.0.0.0", "8.8.8.8", "::", "2001:db8::1", "::ffff:8.8.8.8", "127.1", "2130706433", "0x7f000001", "",
    ],
)  # fmt: skip
def test_everything_else_is_not(host: str) -> None:
    assert not is_local(host)


def test_names_are_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a name was resolved")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    monkeypatch.setattr(socket, "gethostbyname", never)
    assert not is_local("staging.example.com")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1"),
        ("https://Example.COM/path?x=1", "example.com"),
        ("127.0.0.1:6379", "127.0.0.1"),
        ("[::1]:80", "::1"),
        ("http://localhost@evil.example:80/", "evil.example"),
        ("http://${services.agents}", "127.0.0.1"),
        ("${services.bedrock}", "127.0.0.1"),
    ],
)
def test_host_of(address: str, host: str) -> None:
    assert host_of(address) == host


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000", "http://[::1]:80/x", "${services.a}", "http://${upstreams.b}/v1"]
)
def test_local_addresses_are_let_through(address: str) -> None:
    refuse_foreign(address, ())


def test_a_named_host_is_let_through_only_by_its_exact_name() -> None:
    refuse_foreign("https://Staging.example.com/x", ["staging.example.com"])
    for other in (
        "https://prod.example.com",
        "https://staging.example.com.evil.example",
        "https://xstaging.example.com",
    ):
        with pytest.raises(PlanError):
            refuse_foreign(other, ["staging.example.com"])


def test_a_foreign_host_is_refused_with_what_to_do() -> None:
    with pytest.raises(PlanError) as caught:
        refuse_foreign("http://api.example.com/v1", ["other.example.com"], where="targets/x.yaml:7")
    assert str(caught.value).startswith("targets/x.yaml:7: 'http://api.example.com/v1' is not on this machine")
    assert "allow_hosts: [api.example.com]" in caught.value.hint


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://",
        "http://127.0.0.1\\@evil.example",
        "http://127.0.0.1 .evil.example",
        "http://a:b:c",
        "http://${services.a}.evil.example",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(PlanError, match="is no address"):
        refuse_foreign(address, ())


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:5557", ("127.0.0.1", 5557)), ("[::1]:1", ("[::1]", 1)), ("one.example:65535", ("one.example", 65535))],
)
def test_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert split_port(address) == parts


@pytest.mark.parametrize("address", ["", "5557", ":5557", "a:", "a:b", "a:0", "http://a:80", "a:65536", "::1:57"])
def test_what_is_no_host_and_port(address: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|brackets"):
        split_port(address)
