"""A registry that says whatever a test wants: answers by path, and what it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.integration.registry.images import Image

Answer = Callable[["Request", asyncio.StreamWriter], "object"]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class HostileRegistry:
    """`answers` go by the last part of the path, and win over `image`; an answer is bytes, or a coroutine that writes."""

    image: Image
    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"localhost:{self.port}/some/thing:1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").rstrip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                method, path, _ = first.split(" ")
                request = Request(method, path, headers)
                self.requests.append(request)
                last = path.partition("?")[0].rpartition("/")[2]
                answer = self.answers.get(last)
                if answer is not None:
                    said = answer(request, writer)
                    if asyncio.iscoroutine(said):
                        await said
                        return
                    assert isinstance(said, bytes)
                    writer.write(said)
                else:
                    writer.write(self._honest(last))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _honest(self, last: str) -> bytes:
        content = self.image.manifest if last == "1" else self.image.blobs.get(last)
        return response(404) if content is None else response(200, content)


def response(status: int, content: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@asynccontextmanager
async def running(image: Image) -> AsyncIterator[HostileRegistry]:
    registry = HostileRegistry(image)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        await registry.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    registry.port = server.sockets[0].getsockname()[1]
    try:
        yield registry
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
