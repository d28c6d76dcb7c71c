"""§7.4: what becomes of a request for a sandbox that the catalog does not know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest

from sandbank.client_proxy.adapters.resume import Resumer, knock_of, problem_of
from sandbank.domain.errors import (
    ConflictError,
    DeadlineError,
    DeniedError,
    ExhaustedError,
    InternalError,
    NotFoundError,
    SandbankError,
    UnavailableError,
)
from sandbank.proxy.head import parse_request_head
from sandbank.proxy.target import Target
from sandbank.rpc.resume import Knock

KNOCK = Knock("iabc", 8080, "traffic", "agent")


class Api:
    """Answers with `outcome` once `gate` is open; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Knock] = []
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.outcome: str | BaseException = "10.0.0.1"

    async def __call__(self, knock: Knock, timeout_seconds: float) -> str:
        self.asked.append(knock)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def resumer(api: Api) -> AsyncIterator[Resumer]:
    resumer = Resumer(api, 5.0)
    yield resumer
    await resumer.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (NotFoundError("no snapshot"), 502, "The sandbox was not found"),
        (
            DeniedError("permission denied"),
            403,
            "This sandbox can't be resumed with the credentials provided. Check your access token and try again.",
        ),
        (ConflictError("sandbox is still transitioning"), 409, "The sandbox is still transitioning. Try again in a moment."),
        (ConflictError("filesystem-only snapshot must be resumed explicitly"), 502, "The sandbox was not found"),
        (ExhaustedError("you have reached the maximum"), 429, "you have reached the maximum"),
        (ExhaustedError(""), 429, "Sandbox limit reached"),
        (UnavailableError("API a:1 cannot be reached"), 502, "The sandbox was not found"),
        (DeadlineError("late"), 502, "The sandbox was not found"),
        (InternalError("API a:1 failed"), 502, "The sandbox was not found"),
    ],
)
async def test_each_outcome_has_its_page(resumer: Resumer, api: Api, error: SandbankError, status: int, message: str) -> None:
    """§7.4, the table of outcomes."""
    api.outcome = error
    api.gate.set()
    outcome = await resumer.resume(KNOCK)
    assert outcome is error
    page = problem_of("iabc", error).page({})
    assert page.status == status
    assert json.loads(page.body) == {"sandboxId": "iabc", "message": message, "code": status}


async def test_an_address_is_a_route_and_none_is_not_found(resumer: Resumer, api: Api) -> None:
    """§7.4: OK → route."""
    api.gate.set()
    assert await resumer.resume(KNOCK) == "10.0.0.1"
    api.outcome = ""
    assert isinstance(await resumer.resume(KNOCK), NotFoundError)


async def _waiting(resumer: Resumer, count: int, knock: Knock = KNOCK) -> list[asyncio.Task[str | SandbankError]]:
    return [asyncio.ensure_future(resumer.resume(knock)) for _ in range(count)]


async def test_concurrent_requests_share_one_call(resumer: Resumer, api: Api) -> None:
    waiting = await _waiting(resumer, 100)
    await _until(lambda: bool(api.asked))
    api.gate.set()
    assert await asyncio.gather(*waiting) == ["10.0.0.1"] * 100
    assert len(api.asked) == 1
    assert await resumer.resume(KNOCK) == "10.0.0.1"  # later ones ask again: the sandbox may have gone meanwhile
    assert len(api.asked) == 2


async def test_nobody_profits_from_anothers_credentials(resumer: Resumer, api: Api) -> None:
    """Requests with other tokens or for another port are other questions."""
    knocks = [KNOCK, Knock("iabc", 8080), Knock("iabc", 49983, "traffic", "agent"), Knock("iabc", 8080, "other", "agent")]
    waiting = [task for knock in knocks for task in await _waiting(resumer, 3, knock)]
    await _until(lambda: len(api.asked) == 4)
    api.gate.set()
    await asyncio.gather(*waiting)
    assert sorted(api.asked, key=repr) == sorted(knocks, key=repr)


async def test_one_that_leaves_does_not_end_it_for_the_others_and_the_last_one_does(resumer: Resumer, api: Api) -> None:
    first, second = await _waiting(resumer, 2)
    await _until(lambda: bool(api.asked))
    first.cancel()
    await asyncio.wait({first})
    assert api.cancelled == 0
    second.cancel()
    await asyncio.wait({second})
    await _until(lambda: api.cancelled == 1)
    assert not resumer._calls


async def test_waiting_is_bounded(api: Api) -> None:
    """An API that takes the call and never answers is no reason to hang."""
    resumer = Resumer(api, 0.05)
    assert isinstance(await resumer.resume(KNOCK), DeadlineError)
    await resumer.close()


async def test_a_flood_of_unknown_sandboxes_reaches_the_api_in_turns(resumer: Resumer, api: Api) -> None:
    waiting = [task for number in range(500) for task in await _waiting(resumer, 1, Knock(f"i{number}", 80))]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(api.asked) == 128
    api.gate.set()
    await asyncio.gather(*waiting)
    assert len(api.asked) == 500
    assert not resumer._calls


async def test_an_error_of_our_own_does_not_stick(api: Api) -> None:
    failures: list[str] = []
    resumer = Resumer(api, 5.0)
    resumer._tasks._on_error = lambda task, error: failures.append(task)
    api.outcome = RuntimeError("a bug")
    api.gate.set()
    with pytest.raises(RuntimeError):
        await resumer.resume(KNOCK)
    assert failures
    api.outcome = "10.0.0.1"
    assert await resumer.resume(KNOCK) == "10.0.0.1"
    await resumer.close()


def _knock(*lines: bytes) -> Knock:
    return knock_of(parse_request_head(b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", *lines))), Target("iabc", 8080))


def test_the_api_is_told_port_and_tokens() -> None:
    """§7.4, metadata of the call: the agent's token is what the client sent as X-Access-Token."""
    assert _knock(b"E2B-Traffic-Access-Token: traffic", b"X-Access-Token: agent") == KNOCK
    assert _knock() == Knock("iabc", 8080, "", "")


@pytest.mark.parametrize("token", [b"t\xf6ken", b"a\tb", b"x" * 1025])
def test_what_cannot_be_a_token_is_none(token: bytes) -> None:
    """It would break the call's metadata, or outgrow it."""
    assert _knock(b"X-Access-Token: " + token).agent_token == ""
