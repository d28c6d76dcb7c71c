"""Whatever a client of the edge API sends, in whatever pieces: answers that can be parsed, and an end."""

from __future__ import annotations

import asyncio
import itertools
from typing import cast

import httptools
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbank.client_proxy.endpoints.edge_connection import EdgeConnection
from sandbank.client_proxy.endpoints.edge_message import Answer, Request, json_answer

GOOD = b"POST /v1/x?y HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


class _Writer:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass


class _Statuses:
    """Counts the answers in a stream."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self.parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        self.found.append(self.parser.get_status_code())


def exchange(first: bytes, *pieces: bytes) -> tuple[list[Request], list[int]]:
    """The requests that were understood and the statuses that were answered, to a client that sends this and ends."""

    async def run() -> tuple[list[Request], bytes]:
        requests: list[Request] = []
        reader, writer = asyncio.StreamReader(), _Writer()
        for piece in pieces:
            reader.feed_data(piece)
        reader.feed_eof()

        async def respond(request: Request) -> Answer:
            requests.append(request)
            return json_answer({})

        await EdgeConnection(reader, cast(asyncio.StreamWriter, writer), respond, first).serve()
        return requests, writer.written

    requests, written = asyncio.run(run())
    statuses = _Statuses()
    statuses.parser.feed_data(written)
    return requests, statuses.found


@given(st.binary(max_size=300), st.binary(max_size=300))
@example(b"\r\n\r\n", b"")
@example(GOOD, b"\0")
@settings(deadline=None)
def test_any_bytes_are_answered_or_ignored(first: bytes, rest: bytes) -> None:
    requests, statuses = exchange(first, rest)
    refusals = [status for status in statuses if status != 200]
    assert len(statuses) - len(refusals) == len(requests)
    assert len(refusals) <= 1
    assert all(400 <= status < 600 for status in refusals)


@given(st.lists(st.sampled_from([GOOD, CHUNKED]), min_size=1, max_size=4), st.lists(st.integers(1, 400), max_size=8))
@settings(deadline=None)
def test_requests_are_the_same_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(messages)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    requests, statuses = exchange(*(data[start:end] for start, end in itertools.pairwise(places)))
    assert [request.body for request in requests] == [b"abc"] * len(messages)
    assert statuses == [200] * len(messages)


@given(st.data())
@settings(deadline=None)
def test_a_broken_byte_in_a_head_never_passes_for_two_requests(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(GOOD) - 1))
    byte = data.draw(st.integers(0, 255))
    requests, statuses = exchange(GOOD[:place] + bytes([byte]) + GOOD[place + 1 :])
    assert len(requests) <= 1
    assert len(statuses) <= 2
