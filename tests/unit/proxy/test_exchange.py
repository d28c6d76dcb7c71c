"""An exchange without sockets: what it leaves behind."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from sandbank.aiokit.tasks import TaskGroup
from sandbank.proxy.exchange import Exchange, Surroundings
from sandbank.proxy.head import RequestHead, parse_request_head
from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.origin import SANDBOX_POLICY, Origin
from sandbank.proxy.page import Page, plain
from sandbank.proxy.resolver import Decision, Forward
from sandbank.proxy.target import Target

HEAD = parse_request_head(b"GET / HTTP/1.1\r\nHost: a")


class _Client:
    """Remembers how it ended."""

    def __init__(self) -> None:
        self.refused: list[Page] = []

    def refuse(self, page: Page) -> None:
        self.refused.append(page)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was not expected")


class _Resolver:
    def __init__(self, decision: Any) -> None:
        self.decision = decision

    def resolve(self, head: RequestHead) -> Any:
        return self.decision

    def unreachable(self, head: RequestHead, forward: Forward) -> Page:
        return plain(502, "unreachable")

    def gone(self, head: RequestHead, forward: Forward) -> Page:
        return plain(502, "gone")

    def sweep(self, now: float) -> None:
        raise AssertionError


def _origin() -> Origin:
    def dial() -> socket.socket:
        raise ConnectionRefusedError

    return Origin(dial, SANDBOX_POLICY)


async def test_a_client_that_leaves_in_the_same_turn_leaves_no_load_behind() -> None:
    """§7.6: the task that dials may be cancelled before its first step."""
    origin = _origin()
    tasks = TaskGroup("test", lambda name, error: None)
    exchange = Exchange(Surroundings(_Resolver(Forward(origin, Target("i", 80))), ProxyLimits(), tasks), _Client(), HEAD, has_body=False)
    exchange.start()
    assert origin.load.requests == 1
    exchange.cancel()
    assert origin.load.requests == 0
    await tasks.close()
    assert not origin.waiting


async def test_a_client_that_leaves_while_its_route_arrives_is_not_served() -> None:
    """Between the answer of an asynchronous resolver and the turn in which it is taken up."""
    answered = asyncio.Event()
    origin = _origin()

    async def slowly() -> Decision:
        answered.set()
        return Forward(origin, Target("i", 80))

    tasks = TaskGroup("test", lambda name, error: None)
    exchange = Exchange(Surroundings(_Resolver(slowly()), ProxyLimits(), tasks), _Client(), HEAD, has_body=False)
    exchange.start()
    await answered.wait()
    exchange.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert origin.load.requests == 0
    await tasks.close()


async def test_a_resolver_that_breaks_is_answered() -> None:
    """Our own fault must not leave the client waiting."""

    async def broken() -> Decision:
        raise RuntimeError("a bug")

    failures: list[str] = []
    tasks = TaskGroup("test", lambda name, error: failures.append(name))
    client = _Client()
    exchange = Exchange(Surroundings(_Resolver(broken()), ProxyLimits(), tasks), client, HEAD, has_body=False)
    exchange.start()
    while not client.refused:
        await asyncio.sleep(0)
    assert client.refused[0].status == 502
    assert failures
    await tasks.close()


async def test_a_request_that_waits_for_a_sandbox_that_goes_asks_once_more() -> None:
    """It may have been paused, and traffic wakes it; whoever was killed is not found (contract data-plane §7.4)."""
    origin, other = _origin(), _origin()
    tasks = TaskGroup("test", lambda name, error: None)
    client, resolver = _Client(), _Resolver(Forward(origin, Target("i", 80)))
    exchange = Exchange(Surroundings(resolver, ProxyLimits(), tasks), client, HEAD, has_body=True)
    exchange.start()
    await asyncio.sleep(0)
    resolver.decision = Forward(other, Target("i", 80))
    origin.cut()
    assert (origin.load.requests, other.load.requests, client.refused) == (0, 1, [])
    await asyncio.sleep(0)
    other.cut()
    assert [page.body for page in client.refused] == [b"gone\n"]
    assert other.load.requests == 0
    await tasks.close()


@pytest.mark.parametrize(("method", "has_body", "asks"), [(b"GET", False, True), (b"GET", True, False), (b"POST", False, False)])
async def test_a_request_that_a_sandbox_that_goes_may_have_seen_asks_once_more_if_it_may_be_repeated(
    method: bytes, has_body: bool, asks: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for end in (near, far):
        end.setblocking(False)
    origin = Origin(lambda: near, SANDBOX_POLICY)
    tasks = TaskGroup("test", lambda name, error: None)
    client, resolver = _Client(), _Resolver(Forward(origin, Target("i", 80)))
    head = parse_request_head(method + b" / HTTP/1.1\r\nHost: a")
    exchange = Exchange(Surroundings(resolver, ProxyLimits(), tasks), client, head, has_body=has_body)
    exchange.start()
    with far:
        assert (await asyncio.get_running_loop().sock_recv(far, 100)).startswith(method)
        assert not origin.waiting
        resolver.decision = plain(502, "not found")
        origin.cut()
        while not client.refused:
            await asyncio.sleep(0.01)
    assert [page.body for page in client.refused] == [b"not found\n" if asks else b"gone\n"]
    await tasks.close()
