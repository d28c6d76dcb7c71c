"""The node's client of sandboxes' agents, which may have been replaced by anything (contract data-plane §2)."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from sandbank.contracts.process import ProcessEvent, StartResponse
from sandbank.domain.errors import InvalidError, UnavailableError
from sandbank.runtime.agent.client import AgentClient
from sandbank.runtime.agent.command import AgentCommand, Exit, with_path
from sandbank.runtime.driver import Driver

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _envelope(message: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(message)) + message


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _event(**fields: Any) -> bytes:
    return _envelope(StartResponse(event=ProcessEvent(**fields)).SerializeToString())


class FakeDriver:
    """Whatever is asked, the answer is the same bytes; what was asked is kept."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._theirs: list[socket.socket] = []

    def dial(self, sandbox_id: str, port: int) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.sendall(self._answer)
        theirs.shutdown(socket.SHUT_WR)
        self._theirs.append(theirs)
        return ours

    def asked(self) -> bytes:
        data = b"".join(theirs.recv(1 << 20) for theirs in self._theirs)
        for theirs in self._theirs:
            theirs.close()
        return data


def _client(driver: FakeDriver) -> AgentClient:
    return AgentClient(cast(Driver, driver), "sandbox", "token")


async def test_output_and_end_come_however_they_are_cut() -> None:
    data = ProcessEvent.DataEvent(stdout=b"out"), ProcessEvent.DataEvent(stderr=b"err")
    end = _event(end=ProcessEvent.EndEvent(exit_code=3, status="exit status 3", error="exit status 3"))
    stream = _event(start=ProcessEvent.StartEvent(pid=1)) + _event(data=data[0]) + _event(data=data[1]) + end + _envelope(b"{}", 2)
    driver = FakeDriver(CHUNKED + b"".join(_chunk(stream[at : at + 3]) for at in range(0, len(stream), 3)) + b"0\r\n\r\n")
    heard: list[tuple[str, bytes]] = []
    ended = await _client(driver).run(AgentCommand("false", "worker"), lambda name, part: heard.append((name, part)))
    assert (ended, ended.is_good) == (Exit(3, "exit status 3", "exit status 3"), False)
    assert heard == [("stdout", b"out"), ("stderr", b"err")]
    asked = driver.asked()
    assert b"X-Access-Token: token\r\n" in asked
    assert b"Authorization: Basic d29ya2VyOg==\r\n" in asked


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"", UnavailableError, "does not answer"),
        (b"SSH-2.0-x\r\n\r\n", UnavailableError, "does not answer"),
        (CHUNKED + _chunk(struct.pack(">BI", 0, 1 << 31)), UnavailableError, "does not speak its protocol"),
        (CHUNKED + _chunk(_event(start=ProcessEvent.StartEvent(pid=1))), UnavailableError, "does not answer"),
        (CHUNKED + _chunk(_envelope(b"{}", 2)) + b"0\r\n\r\n", UnavailableError, "lost sight"),
        (
            CHUNKED + _chunk(_envelope(json.dumps({"error": {"message": "no such user"}}).encode(), 2)) + b"0\r\n\r\n",
            InvalidError,
            "no such user",
        ),
        (b'HTTP/1.1 401 X\r\nContent-Length: 18\r\n\r\n{"message": "who"}', InvalidError, "who"),
    ],
    ids=["silence", "another protocol", "endless message", "broken off", "no end", "refused", "status"],
)
async def test_what_is_no_agent_is_an_error_and_no_harm(answer: bytes, error: type[Exception], text: str) -> None:
    driver = FakeDriver(answer)
    with pytest.raises(error, match=text):
        async with asyncio.timeout(5):
            await _client(driver).run(AgentCommand("true"))
    driver.asked()


async def test_a_file_is_put_as_root_with_its_size() -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"def"

    driver = FakeDriver(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
    await _client(driver).write_file("/tmp/a b", 6, content())
    asked = driver.asked()
    assert asked.startswith(b"POST /files?path=%2Ftmp%2Fa+b&username=root HTTP/1.1\r\n")
    assert b"Content-Length: 6\r\n" in asked
    assert asked.endswith(b"abcdef")


async def test_a_file_that_is_refused_says_why() -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"abc"

    driver = FakeDriver(b'HTTP/1.1 507 X\r\nContent-Length: 24\r\n\r\n{"message": "disk full"}')
    with pytest.raises(InvalidError, match="disk full"):
        await _client(driver).write_file("/x", 3, content())
    driver.asked()


def test_a_path_survives_a_login_shell() -> None:
    assert with_path("make", {}) == "make"
    assert with_path("make", {"PATH": "/it's:/usr/bin"}) == "export PATH='/it'\"'\"'s:/usr/bin'\nmake"
