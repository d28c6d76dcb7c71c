"""One request to an agent, over a socket that is in its sandbox's network already."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping

import httptools

from sandbank.domain.errors import UnavailableError

AGENT_PORT = 49983
_PIECE_BYTES = 1 << 16
_AWAY = "the sandbox ended, or its agent does not answer"


class _Answer:
    """What httptools calls while it parses."""

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.has_head = False
        self.is_complete = False

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.is_complete = True


class AgentExchange:
    """A request that has been sent, and its answer as it comes. `UnavailableError` when the connection breaks off."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answer = _Answer()
        self._parser = httptools.HttpResponseParser(self._answer)

    @property
    def status(self) -> int:
        """Of the answer, once `read_head` has returned."""
        return int(self._parser.get_status_code())

    async def send_head(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        """Begin the request; its body, if the headers announce one, goes by `send`."""
        lines = [
            f"{method} {target} HTTP/1.1",
            "Host: sandbox",
            "Connection: close",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        await self.send("\r\n".join((*lines, "", "")).encode())

    async def send(self, data: bytes) -> None:
        """Waits for as long as the agent does not take it."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._connection, data)
        except OSError as error:
            raise UnavailableError(_AWAY) from error

    async def read_head(self) -> None:
        """Return once the status is known."""
        while not self._answer.has_head:
            if not await self._receive():
                raise UnavailableError(_AWAY)

    async def body(self) -> AsyncIterator[bytes]:
        """The pieces of the body as they come; an agent that vanishes amid it is an error."""
        while True:
            pieces, self._answer.body = self._answer.body, []
            for piece in pieces:
                yield piece
            if self._answer.is_complete:
                return
            if not await self._receive():
                raise UnavailableError(_AWAY)

    async def text(self) -> str:
        """The beginning of the body, which says what is wrong."""
        found = b""
        async for piece in self.body():
            found = (found + piece)[:4096]
        return found.decode(errors="replace").strip()

    async def _receive(self) -> bool:
        try:
            data = await asyncio.get_running_loop().sock_recv(self._connection, _PIECE_BYTES)
            if data:
                self._parser.feed_data(data)
        except (OSError, httptools.HttpParserError) as error:
            raise UnavailableError(_AWAY) from error
        return bool(data)
