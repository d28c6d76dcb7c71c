"""Commands in a sandbox, and files put into it, as its clients would have it done but from the node."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from sandbank.contracts.process import ProcessConfig, StartRequest, StartResponse
from sandbank.domain.errors import InvalidError, UnavailableError
from sandbank.runtime.agent.command import STDERR, STDOUT, AgentCommand, Exit, OnOutput
from sandbank.runtime.agent.connection import AGENT_PORT, AgentExchange
from sandbank.runtime.driver import Driver

_ENVELOPE = struct.Struct(">BI")
_END_OF_STREAM = 0x02
# A message of the agent's is some tens of kilobytes of output; whoever speaks for it may be hostile.
_MAX_MESSAGE_BYTES = 8 << 20
_MOST_CHARACTERS = 500


class AgentClient:
    """The agent of one sandbox of `driver`. `token` is the access token that the sandbox was created with."""

    def __init__(self, driver: Driver, sandbox_id: str, token: str | None = None) -> None:
        self._driver = driver
        self._sandbox_id = sandbox_id
        self._token = token

    async def run(self, command: AgentCommand, on_output: OnOutput | None = None) -> Exit:
        """Run `command` to its end; output goes to `on_output` with the stream's name as it comes.

        `InvalidError` when the agent refuses to start it, with the reason; `UnavailableError` when the sandbox ends before it.
        Cancelled, what was started runs on: end the sandbox.
        """
        async with self._exchange() as exchange:
            await self._start(exchange, command)
            async for message in _messages(exchange):
                event = message.event
                kind = event.WhichOneof("event")
                if kind == "data" and on_output is not None:
                    stream = event.data.WhichOneof("output")
                    on_output(STDERR if stream == "stderr" else STDOUT, getattr(event.data, stream or "stdout"))
                elif kind == "end":
                    return Exit(event.end.exit_code, event.end.status[:_MOST_CHARACTERS], event.end.error[:_MOST_CHARACTERS])
        raise UnavailableError("the sandbox's agent lost sight of a command")

    async def write_file(self, path: str, size_bytes: int, content: AsyncIterator[bytes]) -> None:
        """Put a file of exactly that size into the sandbox as root's. Errors as `run`; then part of it may be there."""
        target = "/files?" + urlencode({"path": path, "username": "root"})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes), **self._headers("root")}
        async with self._exchange() as exchange:
            await exchange.send_head("POST", target, headers)
            async for piece in content:
                await exchange.send(piece)
            await exchange.read_head()
            if exchange.status != 200:
                raise InvalidError(_reason(await exchange.text()))

    async def _start(self, exchange: AgentExchange, command: AgentCommand) -> None:
        program, *arguments = command.shell
        config = ProcessConfig(cmd=program, args=[*arguments, command.text], envs=dict(command.env_vars))
        if command.cwd is not None:
            config.cwd = command.cwd
        message = StartRequest(process=config, stdin=False).SerializeToString()
        body = _ENVELOPE.pack(0, len(message)) + message
        headers = {
            "Content-Type": "application/connect+proto",
            "Connect-Protocol-Version": "1",
            "Content-Length": str(len(body)),
            **self._headers(command.user),
        }
        await exchange.send_head("POST", "/process.Process/Start", headers)
        await exchange.send(body)
        await exchange.read_head()
        if exchange.status != 200:
            raise InvalidError(_reason(await exchange.text()))

    def _headers(self, user: str) -> dict[str, str]:
        credentials = base64.b64encode(f"{user}:".encode()).decode()
        return {"Authorization": f"Basic {credentials}", **({} if self._token is None else {"X-Access-Token": self._token})}

    @asynccontextmanager
    async def _exchange(self) -> AsyncIterator[AgentExchange]:
        with self._driver.dial(self._sandbox_id, AGENT_PORT) as connection:
            yield AgentExchange(connection)


async def _messages(exchange: AgentExchange) -> AsyncIterator[StartResponse]:
    buffer = bytearray()
    async for piece in exchange.body():
        buffer += piece
        while len(buffer) >= _ENVELOPE.size:
            flags, length = _ENVELOPE.unpack_from(buffer)
            if length > _MAX_MESSAGE_BYTES:
                raise UnavailableError("the sandbox's agent does not speak its protocol")
            end = _ENVELOPE.size + length
            if len(buffer) < end:
                break
            content = bytes(buffer[_ENVELOPE.size : end])
            del buffer[:end]
            if flags & _END_OF_STREAM:
                _check_end(content)
                return
            yield StartResponse.FromString(content)


def _check_end(content: bytes) -> None:
    document = json.loads(content or b"{}")
    if isinstance(document, dict) and (error := document.get("error")):
        raise InvalidError(str(error.get("message", "the command could not be started")))


def _reason(text: str) -> str:
    try:
        document: Any = json.loads(text)
    except ValueError:
        return text
    return str(document.get("message", text)) if isinstance(document, dict) else text
