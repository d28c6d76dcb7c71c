"""Errors keep their meaning from one service to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from sandbank.domain import errors
from sandbank.domain.errors import ConflictError, DeadlineError, InternalError, NotFoundError, SandbankError, UnavailableError
from sandbank.rpc.channel import Channel
from sandbank.rpc.server import Method, RpcServer
from sandbank.rpc.status import CATEGORY_OF_STATUS, STATUS_OF_CATEGORY, status_of

CATEGORIES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SandbankError) and value is not SandbankError
]


class Thrower:
    """A served method that raises what it is told to."""

    def __init__(self) -> None:
        self.error: BaseException = SandbankError("unset")
        self.faults: list[tuple[str, BaseException]] = []

    async def throw(self, request: Empty) -> Empty:
        raise self.error


@pytest.fixture
async def thrower() -> Thrower:
    return Thrower()


@pytest.fixture
async def call(thrower: Thrower) -> AsyncIterator[Callable[[], object]]:
    server = RpcServer(lambda method, error: thrower.faults.append((method, error)))
    server.add("Thrower", {"Throw": Method(Empty, thrower.throw)})
    port = await server.start("127.0.0.1:0")
    channel = Channel(f"127.0.0.1:{port}", "thrower")
    yield lambda: channel.call("/Thrower/Throw", Empty(), Empty, 5)
    await channel.close()
    await server.stop(0)


def test_every_category_has_a_status_and_comes_back() -> None:
    assert set(STATUS_OF_CATEGORY) == set(CATEGORIES)
    for category in CATEGORIES:
        assert CATEGORY_OF_STATUS[STATUS_OF_CATEGORY[category]] is category


def test_a_subclass_counts_as_its_category() -> None:
    class TransitionError(ConflictError):
        pass

    assert status_of(TransitionError("x")) is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("category", CATEGORIES)
async def test_category_message_and_code_survive(category: type[SandbankError], thrower: Thrower, call: Callable[[], object]) -> None:
    thrower.error = category("Grüße: 100 %", error_code="some_code")
    with pytest.raises(SandbankError) as caught:
        await call()  # type: ignore[misc]
    assert type(caught.value) is category
    assert (caught.value.message, caught.value.error_code) == ("Grüße: 100 %", "some_code")
    assert not thrower.faults


async def test_a_fault_is_reported_at_home_and_said_without_detail(thrower: Thrower, call: Callable[[], object]) -> None:
    thrower.error = KeyError("secret detail")
    with pytest.raises(InternalError, match=r"^internal error$"):
        await call()  # type: ignore[misc]
    assert thrower.faults == [("/Thrower/Throw", thrower.error)]


async def test_what_the_transport_says_is_translated() -> None:
    server = RpcServer(lambda method, error: None)
    port = await server.start("127.0.0.1:0")
    channel = Channel(f"127.0.0.1:{port}", "node")
    with pytest.raises(InternalError, match=rf"^node 127\.0\.0\.1:{port} failed$"):
        await channel.call("/No/Such", Empty(), Empty, 5)
    await server.stop(0)
    with pytest.raises(UnavailableError, match=rf"^node 127\.0\.0\.1:{port} cannot be reached$"):
        await channel.call("/No/Such", Empty(), Empty, 5)
    await channel.close()


async def test_deadlines(thrower: Thrower) -> None:
    import asyncio

    async def hang(request: Empty) -> Empty:
        await asyncio.Event().wait()
        raise AssertionError

    server = RpcServer(lambda method, error: None)
    server.add("Slow", {"Hang": Method(Empty, hang)})
    port = await server.start("127.0.0.1:0")
    channel = Channel(f"127.0.0.1:{port}", "node")
    with pytest.raises(DeadlineError, match=r"did not answer in time$"):
        await channel.call("/Slow/Hang", Empty(), Empty, 0.05)
    await channel.close()
    await server.stop(0)


async def test_not_found_keeps_its_text(thrower: Thrower, call: Callable[[], object]) -> None:
    thrower.error = NotFoundError("sandbox 'i1' not found")
    with pytest.raises(NotFoundError, match=r"^sandbox 'i1' not found$"):
        await call()  # type: ignore[misc]
