"""An HTTP/2 connection at its edges: what never leaves it, what never reaches an exchange, when it stops reading."""

from __future__ import annotations

import asyncio
import struct
from typing import cast

from hpack import Encoder

from sandbank.aiokit.tasks import TaskGroup
from sandbank.proxy.exchange import Surroundings
from sandbank.proxy.http2.connection import Http2Connection
from sandbank.proxy.http2.engine import PREFACE, Engine
from sandbank.proxy.http2.outbox import Outbox
from sandbank.proxy.limits import ProxyLimits
from tests.unit.proxy.wireless import Listener, Owner, Transport, converse

SETTINGS, HEADERS, RST_STREAM, DATA = 4, 1, 3, 0
REQUEST = [(":method", "POST"), (":scheme", "http"), (":authority", "a.b"), (":path", "/wait")]


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def served() -> tuple[Engine, Outbox]:
    """A server's engine with a request on stream 1, and what answers it."""
    engine = Engine(client_side=False)
    engine.begin()
    engine.feed(PREFACE + frame(SETTINGS) + frame(HEADERS, Encoder().encode(REQUEST), flags=5, stream=1), 0.0)
    engine.data_to_send()
    outbox = Outbox(engine, 1)
    outbox.begin([(b":status", b"200")])
    return engine, outbox


def frames(data: bytes) -> list[tuple[int, int, int]]:
    """Type, flags and size of each."""
    found = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], size))
        data = data[9 + size :]
    return found


def test_empty_pieces_become_no_frames() -> None:
    """sdk-latest §2.4: a client ends the connection after a hundred empty DATA frames."""
    engine, outbox = served()
    for piece in (b"", b"a", b"", b"bc", b""):
        outbox.write(piece)
        outbox.flush()
    outbox.end()
    outbox.flush()
    assert frames(engine.data_to_send())[1:] == [(DATA, 0, 1), (DATA, 0, 2), (DATA, 1, 0)]


def test_what_is_known_to_be_the_last_carries_the_end() -> None:
    engine, outbox = served()
    outbox.write(b"abc")
    outbox.end()
    outbox.flush()
    assert frames(engine.data_to_send())[1:] == [(DATA, 1, 3)]
    engine, outbox = served()
    outbox.end()
    outbox.flush()
    assert [(kind, flags) for kind, flags, _ in frames(engine.data_to_send())] == [(HEADERS, 5)]


def test_a_request_that_is_taken_back_in_the_same_breath_is_none() -> None:
    """CVE-2023-44487."""
    block = Encoder().encode(REQUEST)
    asked = frame(HEADERS, block, flags=5, stream=1) + frame(RST_STREAM, bytes(4), stream=1)
    assert converse([PREFACE + frame(SETTINGS) + asked]).heads == []


async def test_one_that_does_not_listen_is_not_read() -> None:
    """Its answers wait with their streams, but acknowledgements have nowhere to wait."""
    tasks = TaskGroup("test", lambda name, error: None)
    transport, owner = Transport(), Owner()
    connection = Http2Connection(owner, Surroundings(Listener(), ProxyLimits(), tasks))
    connection.connection_made(cast(asyncio.Transport, transport))
    connection.data_received(PREFACE + frame(SETTINGS))
    assert transport.reading
    transport.buffered = 1_000_000
    connection.pause_writing()
    connection.data_received(frame(SETTINGS))
    assert not transport.reading
    transport.buffered = 0
    connection.resume_writing()
    assert transport.reading
    transport.close()
    await asyncio.sleep(0)
    assert not owner.connections


async def test_a_flood_of_tiny_frames_takes_turns() -> None:
    """One client's framing must not hold everybody up."""
    tasks = TaskGroup("test", lambda name, error: None)
    transport, owner = Transport(), Owner()
    connection = Http2Connection(owner, Surroundings(Listener(), ProxyLimits(), tasks))
    connection.connection_made(cast(asyncio.Transport, transport))
    tiny = frame(DATA, b"x", stream=1) * 20_000
    connection.data_received(PREFACE + frame(SETTINGS) + frame(HEADERS, Encoder().encode(REQUEST), flags=4, stream=1) + tiny)
    assert not transport.reading
    turns = 0
    while not transport.reading:
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10
    connection.data_received(frame(DATA, b"y", stream=1))
    transport.close()
    await asyncio.sleep(0)
    await tasks.close()
