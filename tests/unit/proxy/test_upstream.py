"""A connection to an origin whose bytes come at odd moments."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sandbank.proxy.body import LINES_PER_SCAN
from sandbank.proxy.head import ResponseHead
from sandbank.proxy.load import Load
from sandbank.proxy.upstream import UpstreamConnection


class _Transport:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.reading = True
        self.closed = False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True

    def get_extra_info(self, name: str) -> None:
        return None


class _Owner:
    def __init__(self) -> None:
        self.load = Load()

    def forget(self, connection: UpstreamConnection) -> None:
        """Nothing is kept here."""


class _Sink:
    """The calls that a connection makes, in order."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_interim(self, head: ResponseHead) -> None:
        self.calls.append(head.status)

    def on_head(self, head: ResponseHead, first: bytes, *, open_ended: bool) -> None:
        self.calls.append((head.status, first, open_ended))

    def on_body(self, data: bytes) -> None:
        self.calls.append(data)

    def on_complete(self, *, reusable: bool) -> None:
        self.calls.append(("complete", reusable))

    def on_lost(self) -> None:
        self.calls.append("lost")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was not expected")


@pytest.fixture
def transport() -> _Transport:
    return _Transport()


@pytest.fixture
def upstream(transport: _Transport) -> UpstreamConnection:
    connection = UpstreamConnection(_Owner())
    connection.connection_made(transport)  # type: ignore[arg-type]
    return connection


def _ask(upstream: UpstreamConnection) -> _Sink:
    sink = _Sink()
    upstream.begin(sink, head_only=False, upgrade=False, payload_only=False)
    return sink


async def test_an_answer_that_is_there_before_the_request_is_its_answer(upstream: UpstreamConnection, transport: _Transport) -> None:
    """As `nc -l < answer` gives it. Until somebody asks nothing more is read, so nobody can fill memory ahead of time."""
    upstream.data_received(b"HTTP/1.1 200 OK\r\n\r\nearly")
    assert not transport.reading
    assert upstream.eof_received()
    sink = _ask(upstream)
    assert sink.calls == []  # never from within `begin`: the request has not been sent yet
    await asyncio.sleep(0)
    assert transport.reading
    assert sink.calls == [(200, b"early", True), ("complete", False)]


async def test_an_early_answer_that_ends_too_early_is_a_cut(upstream: UpstreamConnection, transport: _Transport) -> None:
    upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly")
    assert upstream.eof_received()
    sink = _ask(upstream)
    await asyncio.sleep(0)
    assert transport.closed
    upstream.connection_lost(None)
    assert sink.calls == [(200, b"early", False), "lost"]


async def test_what_an_idle_connection_says_is_not_kept_for_the_next_request(upstream: UpstreamConnection, transport: _Transport) -> None:
    sink = _ask(upstream)
    upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert sink.calls == [(200, b"", False), ("complete", True)]
    upstream.data_received(b"HTTP/1.1 200 OK\r\n")
    assert transport.closed


async def test_a_head_that_comes_byte_by_byte_is_found(upstream: UpstreamConnection) -> None:
    sink = _ask(upstream)
    for byte in b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\nA: b\r\n\nbody":
        upstream.data_received(bytes([byte]))
    assert sink.calls == [103, (200, b"", True), b"b", b"o", b"d", b"y"]


async def test_the_load_is_given_back_once(upstream: UpstreamConnection) -> None:
    owner = upstream._owner
    sink = _ask(upstream)
    assert owner.load.requests == 1
    upstream.fail()
    upstream.cut()
    upstream.connection_lost(None)
    assert owner.load.requests == 0
    assert sink.calls == ["lost"]


async def test_tiny_chunks_are_taken_in_turns_and_nothing_more_is_read_meanwhile(
    upstream: UpstreamConnection, transport: _Transport
) -> None:
    """A sandbox that answers in chunks of one byte must not hold up everybody else's traffic."""
    body = b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"
    sink = _ask(upstream)
    upstream.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert len(sink.calls[0][1]) <= 6 * LINES_PER_SCAN
    assert not transport.reading
    turns = 0
    while sink.calls[-1] != ("complete", True):
        before = len(sink.calls)
        await asyncio.sleep(0)
        assert len(sink.calls) <= before + 2
        turns += 1
    assert turns > 10
    assert transport.reading
    assert sink.calls[0][1] + b"".join(call for call in sink.calls if isinstance(call, bytes)) == body


async def test_a_reader_that_is_slow_keeps_reading_paused_after_the_last_turn(upstream: UpstreamConnection, transport: _Transport) -> None:
    _ask(upstream)
    upstream.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500)
    upstream.pause()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not transport.reading
    upstream.resume()
    assert transport.reading


async def test_a_cut_between_two_turns_ends_the_work(upstream: UpstreamConnection) -> None:
    sink = _ask(upstream)
    upstream.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000)
    upstream.cut()
    calls = len(sink.calls)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(sink.calls) == calls
