"""HTTP/2 under fire: whatever comes, nothing escapes, nothing grows, and the connection can end (contract data-plane §7)."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest
from hpack import Encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbank.proxy.http2 import connection
from tests.unit.proxy.wireless import converse

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Alarm:
    """A logger for which there should be no use."""

    def exception(self, *args: Any, **values: Any) -> None:
        raise AssertionError("an exception came through")

    error = exception


@pytest.fixture(autouse=True)
def _alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "logger", Alarm())


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind & 255, flags & 255]) + struct.pack(">I", stream) + payload


def conversation() -> list[bytes]:
    """The frames of a client that behaves."""
    encoder = Encoder()

    def block(path: str, method: str = "GET", *extra: tuple[str, str]) -> bytes:
        encoded: bytes = encoder.encode([(":method", method), (":scheme", "http"), (":authority", "a.b"), (":path", path), *extra])
        return encoded

    return [
        frame(4, struct.pack(">HI", 4, 100_000)),
        frame(8, struct.pack(">I", 1_000_000)),
        frame(1, block("/one"), flags=5, stream=1),
        frame(1, block("/two", "POST", ("content-length", "5")), flags=4, stream=3),
        frame(0, b"hello", flags=1, stream=3),
        frame(1, block("/wait", "POST"), flags=4, stream=5),
        frame(0, b"some", stream=5),
        frame(0, b"\x03more\0\0\0", flags=8, stream=5),
        frame(8, struct.pack(">I", 1000), stream=5),
        frame(6, b"12345678"),
        frame(1, block("/three", "PUT")[:4], flags=0, stream=7),
        frame(4, flags=1),
        frame(2, bytes(5), stream=9),
        frame(1, encoder.encode([("x-trailer", "1")]), flags=5, stream=5),
        frame(3, struct.pack(">I", 8), stream=5),
        frame(7, bytes(8)),
    ]


VALID = conversation()
CONTINUED = [*VALID[:10], *VALID[11:]]  # without the block that never ends

frames = st.builds(
    frame,
    st.integers(0, 12),
    st.binary(max_size=30),
    flags=st.integers(0, 255),
    stream=st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1, 2**31]),
)


def send(data: bytes, *cuts: int) -> bytes:
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    outcome = converse([data[start:end] for start, end in itertools.pairwise(edges) if end > start])
    assert outcome.failures == []
    assert outcome.closed
    assert len(outcome.written) < 200_000
    return outcome.written


def kinds(data: bytes) -> list[int]:
    """The types of the frames in it."""
    found = []
    while len(data) >= 9:
        found.append(data[3])
        data = data[9 + int.from_bytes(data[:3], "big") :]
    assert not data
    return found


def test_a_client_that_behaves_is_answered_wherever_its_bytes_are_cut() -> None:
    data = PREFACE + b"".join(CONTINUED)
    whole = send(data)
    assert kinds(whole).count(1) == 2  # /one and /two
    assert whole.endswith(frame(7, struct.pack(">II", 5, 0)))  # it said GOAWAY, and so do we when all is answered
    for cut in range(1, len(data)):
        answered = kinds(send(data, cut))
        assert (answered.count(1), answered.count(7)) == (2, 1)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sets(st.integers(1, 300), max_size=4))
def test_random_bytes_after_the_preface(data: bytes, cuts: set[int]) -> None:
    send(PREFACE + data, *cuts)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(frames, max_size=8), st.integers(0, len(VALID)))
def test_random_frames_in_the_middle_of_a_conversation(inserted: list[bytes], position: int) -> None:
    send(PREFACE + b"".join([*VALID[:position], *inserted, *VALID[position:]]))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(VALID), max_size=14))
def test_valid_frames_in_any_order_and_number(chosen: list[bytes]) -> None:
    send(PREFACE + b"".join(chosen))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_and_lost_bytes(data: st.DataObject) -> None:
    stream = bytearray(PREFACE + b"".join(CONTINUED))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(len(PREFACE), len(stream) - 1))
        if data.draw(st.booleans()):
            stream[position] = data.draw(st.integers(0, 255))
        else:
            del stream[position : position + data.draw(st.integers(1, 5))]
    send(bytes(stream), data.draw(st.integers(1, len(stream))))


names = st.sampled_from(
    [":method", ":path", ":scheme", ":authority", ":protocol", ":status", "host", "te", "cookie", "content-length"]
) | st.text(max_size=5)
values = st.sampled_from(["GET", "POST", "CONNECT", "/", "/wait", "*", "http", "websocket", "a.b", "5", "trailers"]) | st.text(max_size=5)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(names, values), max_size=8), st.booleans(), st.binary(max_size=8))
def test_any_headers(headers: list[tuple[str, str]], ended: bool, body: bytes) -> None:
    base = [(":method", "GET"), (":scheme", "http"), (":authority", "a.b"), (":path", "/")]
    merged = [*{**dict(base), **{name: value for name, value in headers if name.startswith(":")}}.items()]
    merged += [header for header in headers if not header[0].startswith(":")]
    block = Encoder().encode([(name.encode(), value.encode()) for name, value in merged])
    send(PREFACE + frame(4) + frame(1, block, flags=5 if ended else 4, stream=1) + (b"" if ended else frame(0, body, flags=1, stream=1)))
