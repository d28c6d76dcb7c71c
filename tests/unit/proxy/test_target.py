"""Which sandbox and port a request names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.proxy.target import Target, TargetError, parse_target, strip_port

ID = "iabcdefghij0123456789"


@pytest.mark.parametrize(
    ("host", "port", "shared"),
    [
        ("localhost", 49983, None),
        ("localhost:3002", 49983, None),
        ("127.0.0.1", 8080, None),
        ("127.0.0.1:3002", 8080, None),
        ("[::1]:3002", 8080, None),
        ("[::1]", 8080, None),
        ("sandbox.e2b.app", 49999, "e2b.app"),
        ("sandbox.localhost:13443", 49999, "localhost:13443"),
    ],
)
def test_headers_count_on_hosts_that_name_no_sandbox(host: str, port: int, shared: str | None) -> None:
    assert parse_target(host, ID, str(port)) == Target(ID, port, shared)


@pytest.mark.parametrize("host", ["localhost", "10.0.0.1:80", "sandbox.e2b.app"])
@pytest.mark.parametrize(("sandbox_id", "port"), [(ID, ""), ("", "80")])
def test_both_headers_are_needed(host: str, sandbox_id: str, port: str) -> None:
    with pytest.raises(TargetError, match="missing header"):
        parse_target(host, sandbox_id, port)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (f"49983-{ID}.e2b.app", 49983),
        (f"8080-{ID}-6532622b.localhost", 8080),
        (f"8080-{ID}-00000000.localhost:3002", 8080),
        (f"8080-{ID}.", 8080),
    ],
)
def test_the_first_label_wins_over_headers(host: str, port: int) -> None:
    assert parse_target(host, "iother", "1") == Target(ID, port)
    assert parse_target(host, "", "") == Target(ID, port)


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("", "Invalid host"),
        ("localhost", "Invalid host"),
        ("example", "Invalid host"),
        (f"80-{ID}", "Invalid host"),
        ("sandbox.e2b.app", "Invalid host"),
        ("127.0.0.1:3002", "Invalid host"),
        ("x-y.example.com", "Invalid sandbox port"),
        (f"0-{ID}.example.com", "Invalid sandbox port"),
        (f"65536-{ID}.example.com", "Invalid sandbox port"),
        ("80-.example.com", "Invalid sandbox ID"),
        ("80-ABC.example.com", "Invalid sandbox ID"),
        ("80-a_b.example.com", "Invalid sandbox ID"),
    ],
)
def test_hosts_without_a_sandbox(host: str, text: str) -> None:
    with pytest.raises(TargetError, match=f"^{text}$"):
        parse_target(host, "", "")


def test_headers_are_checked_like_hosts() -> None:
    with pytest.raises(TargetError, match="Invalid sandbox ID"):
        parse_target("localhost", "../x", "80")
    with pytest.raises(TargetError, match="Invalid sandbox port"):
        parse_target("localhost", ID, "-1")


def test_sandbox_dot_alone_is_not_shared() -> None:
    with pytest.raises(TargetError, match="Invalid host"):
        parse_target("sandbox.", ID, "80")


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=10))
def test_any_text_is_a_target_or_an_error(host: str, sandbox_id: str, port: str) -> None:
    try:
        target = parse_target(host, sandbox_id, port)
    except TargetError:
        return
    assert target.sandbox_id.isascii()
    assert target.sandbox_id.isalnum()
    assert 0 < target.port < 65536


def test_strip_port() -> None:
    assert [strip_port(host) for host in ("a:1", "a", "[::1]:1", "::1", "a:b")] == ["a", "a", "::1", "::1", "a:b"]
