"""The name in a ClientHello, however it is cut up (data-plane §11.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.runtime.network.egress.client_hello import MAX_BYTES, Asked, read_hello
from tests.unit.network.hello import extension, message, of_openssl, records, server_name, vector


def test_what_openssl_sends() -> None:
    assert read_hello(of_openssl("Site.Example.com")) == Asked("site.example.com")
    assert read_hello(of_openssl(None)) == Asked(None)


@pytest.mark.parametrize("size", [2, 3, 5, 100])
def test_fragments_over_records(size: int) -> None:
    assert read_hello(records(message(extension(10, b"x"), server_name(b"a.test")), size)) == Asked("a.test")


def test_every_prefix_waits_for_more() -> None:
    whole = records(message(server_name(b"a.test")), 40)
    assert all(read_hello(whole[:end]) is None for end in range(len(whole)))
    assert read_hello(whole + b"more") == Asked("a.test")


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (server_name(b"a.test"), server_name(b"b.test")),
        (server_name(b"a.test", b"b.test"),),
        (server_name(b"a.test", kind=1),),
        (server_name(b"198.51.100.7"),),
        (server_name(b"a\0.test"),),
        (server_name(b"a.test/"),),
        (server_name("ä.test".encode()),),
        (server_name(b""),),
        (server_name(b"x" * 300),),
        (extension(0, b"\0\x0a\0\0\x09short"),),
    ],
)
def test_who_names_nobody_or_in_two_ways_has_named_nobody(extensions: tuple[bytes, ...]) -> None:
    assert read_hello(records(message(*extensions))) == Asked(None)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x80\x2e\1\3\1",
        b"\x16\2\0\0\5",
        b"\x16\3\1\0\0",
        b"\x16\3\1\xff\xff",
        b"\x16\3\1\0\1\2",
        b"\x17\3\3\0\1x",
    ],
)
def test_what_is_no_tls_has_named_nobody_at_once(data: bytes) -> None:
    assert read_hello(data) == Asked(None)


def test_an_endless_hello_has_named_nobody() -> None:
    endless = records(b"\1\xff\xff\xff" + bytes(2 * MAX_BYTES))
    assert read_hello(endless[: MAX_BYTES - 1]) is None
    assert read_hello(endless[:MAX_BYTES]) == Asked(None)


def test_a_hello_in_crumbs_is_not_put_together() -> None:
    """Thousands of records of one byte took milliseconds at each look, and there are 64 for every connection."""
    whole = message(server_name(b"a.test"), extension(21, bytes(300)))
    assert read_hello(records(whole, 8)) == Asked("a.test")
    assert read_hello(records(whole, 1)) == Asked(None)
    assert read_hello(records(b"\1\xff\xff\xff" + bytes(100), 1)) == Asked(None)


def test_an_encrypted_inner_name_is_not_seen_and_the_outer_one_counts() -> None:
    assert read_hello(records(message(extension(0xFE0D, vector(2, b"secret")), server_name(b"outer.test")))) == Asked("outer.test")


@given(st.binary(max_size=300))
def test_no_bytes_are_too_odd(data: bytes) -> None:
    read_hello(data)
    read_hello(b"\x16\3\1" + vector(2, data))
    read_hello(records(b"\1" + vector(3, data), 100) if data else b"")
