"""What a peer may do on an HTTP/2 connection before it is told to calm down."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.proxy.http2.guard import CalmError, FrameGuard

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 1) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


@given(
    st.lists(
        st.tuples(st.sampled_from([DATA, HEADERS, SETTINGS, PING, GOAWAY, 77]), st.binary(max_size=40)),
        max_size=12,
    ),
    st.lists(st.integers(0, 600), max_size=8),
)
def test_all_frames_but_goaway_pass_however_they_are_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    preface = b"p" * 24
    stream = preface + b"".join(frame(kind, payload, flags=4) for kind, payload in frames)
    expected = preface + b"".join(frame(kind, payload, flags=4) for kind, payload in frames if kind != GOAWAY)
    guard = FrameGuard(len(preface))
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    passed = b"".join(guard.pass_on(stream[start:end], 0.0) for start, end in itertools.pairwise(edges))
    assert passed == expected
    assert guard.going_away == any(kind == GOAWAY for kind, _ in frames)


FLOODS = {
    "settings": frame(SETTINGS, stream=0),
    "pings": frame(PING, bytes(8), stream=0),
    "priorities": frame(PRIORITY, bytes(5)),
    "empty data": frame(DATA),
    "unknown frames": frame(77),
    "goaways": frame(GOAWAY, bytes(8), stream=0),
    "windows": frame(WINDOW_UPDATE, b"\0\0\0\1"),
    "resets": frame(HEADERS, flags=4) + frame(RST_STREAM, bytes(4)),
    "continuations": frame(HEADERS) + frame(CONTINUATION) * 20,
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_are_noticed_and_patience_is_not_punished(name: str) -> None:
    guard = FrameGuard(0)
    flood = FLOODS[name] * 20_000
    with pytest.raises(CalmError):
        guard.pass_on(flood, 0.0)
    if name != "continuations":
        patient = FrameGuard(0)
        for second in range(20_000):
            patient.pass_on(FLOODS[name], float(second))


def test_header_blocks_are_bounded_before_they_are_decoded() -> None:
    with pytest.raises(CalmError):
        FrameGuard(0).pass_on(frame(HEADERS, bytes(70_000)), 0.0)
    guard = FrameGuard(0)
    guard.pass_on(frame(HEADERS, bytes(40_000)), 5.0)
    assert guard.block_began_at == 5.0
    with pytest.raises(CalmError):
        guard.pass_on(frame(CONTINUATION, bytes(40_000)), 6.0)
    done = FrameGuard(0)
    done.pass_on(frame(HEADERS, bytes(10)) + frame(CONTINUATION, bytes(10), flags=4), 5.0)
    assert done.block_began_at is None


def test_settings_are_bounded() -> None:
    """Each one is remembered, known or not."""
    with pytest.raises(CalmError):
        FrameGuard(0).pass_on(frame(SETTINGS, bytes(6 * 100), stream=0), 0.0)


def test_windows_may_be_opened_for_what_was_sent() -> None:
    guard = FrameGuard(0)
    for _ in range(100_000):
        guard.sent(1000)
        guard.pass_on(frame(WINDOW_UPDATE, b"\0\0\3\xe8") * 2, 0.0)
