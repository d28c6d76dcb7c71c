"""Whatever arrives as a message is a message or a Connect error: no crash, bounded memory (data-plane contract §1.2, §1.4)."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbank.contracts.process import (
    ConnectRequest,
    SendInputRequest,
    SendSignalRequest,
    StartRequest,
    StreamInputRequest,
    UpdateRequest,
)
from sandbank.domain.errors import ExhaustedError, InvalidError, SandbankError
from sandbank.envd.connect.codec import CODECS
from sandbank.envd.connect.envelope import MAX_MESSAGE_BYTES, payloads, seal
from sandbank.envd.connect.errors import MAX_MESSAGE_CHARACTERS, describe
from sandbank.envd.connect.received import RECEIVED

KINDS = st.sampled_from([StartRequest, ConnectRequest, UpdateRequest, SendInputRequest, StreamInputRequest, SendSignalRequest])
NAMES = "process cmd args envs cwd pty size cols rows tag stdin selector pid input event start data keepalive signal nope".split()
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "a\0b", "NaN", "1e400"])
KEYS = st.sampled_from(NAMES) | st.text(max_size=3) | st.just("\ud800")
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15)
VALID = StartRequest(tag="t", stdin=True)
VALID.process.cmd = "cat"
VALID.process.args.extend(["a", "ü"])
VALID.process.envs["k"] = "v"
VALID.pty.size.cols = 80


def decode(codec: str, payload: bytes, kind: type[Message]) -> None:
    try:
        CODECS[codec].decode(payload, kind)
    except SandbankError as error:
        described = describe(error)
        assert described["code"] == "invalid_argument"
        assert len(described["message"]) <= MAX_MESSAGE_CHARACTERS


@settings(max_examples=400, deadline=None)
@given(TREES, KINDS)
def test_any_json_is_a_message_or_invalid(value: object, kind: type[Message]) -> None:
    decode("json", json.dumps(value).encode(), kind)


@pytest.mark.parametrize("codec", ["json", "proto"])
@given(payload=st.binary(max_size=100), kind=KINDS)
def test_any_bytes_are_a_message_or_invalid(codec: str, payload: bytes, kind: type[Message]) -> None:
    decode(codec, payload, kind)


@pytest.mark.parametrize("codec", ["json", "proto"])
@given(position=st.integers(0, 200), replacement=st.binary(max_size=3), removed=st.integers(0, 3))
def test_a_mutated_message_is_a_message_or_invalid(codec: str, position: int, replacement: bytes, removed: int) -> None:
    payload = CODECS[codec].encode(VALID)
    position %= len(payload)
    decode(codec, payload[:position] + replacement + payload[position + removed :], StartRequest)


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 200_000,
        b'{"process":' * 50_000,
        b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"process":{"pid":' + b"1" * 6_000 + b"}}",
        b'{"process":{"tag":"\\ud800"}}',
        b'{"process":{"\\ud800":1}}',
        b'{"process":["\\ud800",{"cols":1}]}',
        b'{"process":{"pid":1e400}}',
        b'{"process":{"pid":"' + b"x" * 1_000_000 + b'"}}',
    ],
)
def test_json_that_is_made_to_hurt_is_invalid(payload: bytes) -> None:
    """Depth, digits, surrogates, and an input that its own error would quote."""
    with pytest.raises(InvalidError) as caught:
        CODECS["json"].decode(payload, SendSignalRequest)
    assert len(describe(caught.value)["message"]) <= MAX_MESSAGE_CHARACTERS


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def received(data: bytes, size: int, compression: str = "gzip") -> list[bytes]:
    return [payload async for payload in payloads(pieces(data, size), compression)]


@given(data=st.binary(max_size=200), size=st.integers(1, 50))
def test_any_bytes_are_envelopes_or_a_connect_error(data: bytes, size: int) -> None:
    with suppress(SandbankError):
        asyncio.run(received(data, size))
    assert RECEIVED.held_bytes == 0


@given(messages=st.lists(st.binary(max_size=50), max_size=5), size=st.integers(1, 50), compressed=st.booleans())
def test_messages_arrive_whatever_the_portions(messages: list[bytes], size: int, compressed: bool) -> None:
    data = b"".join(seal(gzip.compress(one, mtime=0), 1) if compressed else seal(one) for one in messages)
    assert asyncio.run(received(data, size)) == messages


async def test_a_message_of_four_gibibytes_is_refused_by_its_head() -> None:
    with pytest.raises(ExhaustedError):
        await received(struct.pack(">BI", 0, 0xFFFF_FFFF), 5)


async def test_a_compressed_bomb_is_refused_at_the_limit() -> None:
    """Ten times the limit in a few hundred kilobytes: inflating stops there."""
    bomb = gzip.compress(bytes(MAX_MESSAGE_BYTES * 2), 9)
    with pytest.raises(ExhaustedError):
        await received(seal(bomb, 1), 65536)
    assert RECEIVED.held_bytes == 0


async def test_a_compressed_message_without_announced_compression_is_internal() -> None:
    with pytest.raises(InvalidError) as caught:
        await received(seal(b"x", 1), 5, "")
    assert describe(caught.value)["code"] == "internal"
