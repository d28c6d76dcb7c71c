"""TLS to egress proxies: what a connection costs the node."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import pytest

from sandbank.aiokit.tasks import TaskGroup
from sandbank.runtime.driver import ProxyTls
from sandbank.runtime.network.egress.tunnel import Tunnels
from tests.integration.proxy.certificates import Authority


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


async def test_a_proxy_that_takes_nothing_keeps_no_tunnel(tmp_path: Path) -> None:
    """Whose proxy it is, the tenant decides; each tunnel kept would cost the node two descriptors for good."""
    authority = Authority(tmp_path)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(authority.issue("proxy.test"))
    near, far = socket.socketpair()
    near.setblocking(False)
    accepted = asyncio.ensure_future(asyncio.to_thread(served.wrap_socket, far, server_side=True))
    failures: list[BaseException] = []
    tasks = TaskGroup("test", lambda name, error: failures.append(error))
    tunnels = Tunnels(tasks)
    ours = await tunnels.wrap(near, "proxy.test", ProxyTls(ca_cert=authority.path.read_text()))
    stuck = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(ours, bytes(64 << 20)))
    await asyncio.wait({stuck}, timeout=0.2)
    assert not stuck.done()
    stuck.cancel()
    await asyncio.wait({stuck})
    ours.close()
    async with asyncio.timeout(5):
        while near.fileno() >= 0:  # there is no event for it
            await asyncio.sleep(0.01)
    (await accepted).close()
    await tasks.close()
    tunnels.close()
    assert failures == []
