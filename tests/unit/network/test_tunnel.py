"""TLS to egress proxies: what a connection costs the node."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading

import pytest

from sandbank.aiokit.tasks import TaskGroup
from sandbank.runtime.driver import ProxyTls
from sandbank.runtime.network.egress.tunnel import Tunnels


async def test_certificates_are_read_once_and_not_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some 30 ms for each connection, of which a sandbox may open 200 a second, would be all that the node's loop does."""
    readers: list[threading.Thread] = []
    real = ssl.create_default_context

    def read(**options: str | None) -> ssl.SSLContext:
        readers.append(threading.current_thread())
        return real(**options)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl, "create_default_context", read)
    tunnels = Tunnels(TaskGroup("test", lambda name, error: None))

    async def connect() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(b"no TLS at all, and more than a record's header has")
            with pytest.raises(ssl.SSLError):
                await tunnels.wrap(ours, "proxy.test", ProxyTls())

    await asyncio.gather(*(connect() for _ in range(5)))
    assert len(readers) == 1
    assert readers[0] is not threading.main_thread()
