"""Sandboxes that the catalog does not know: the API is asked, which wakes those that may be woken (contract data-plane §7.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.domain.errors import ConflictError, DeadlineError, DeniedError, ExhaustedError, NotFoundError, SandbankError
from sandbank.proxy import page
from sandbank.proxy.head import RequestHead
from sandbank.proxy.page import Problem
from sandbank.proxy.target import Target
from sandbank.rpc.resume import Knock

_TRANSITIONING = "sandbox is still transitioning"
# Ours have 64 characters. What is longer cannot be right, and would only outgrow the metadata of a call.
_MAX_TOKEN_CHARACTERS = 1024
_MAX_CALLS = 128  # at a time: misses of strangers' making must not become a flood at the API

logger = structlog.get_logger(__name__)

Ask = Callable[[Knock, float], Awaitable[str]]


def knock_of(head: RequestHead, target: Target) -> Knock:
    """What the API is told of a request."""
    return Knock(
        sandbox_id=target.sandbox_id,
        port=target.port,
        traffic_token=_token(head.fields.get(b"e2b-traffic-access-token", b"")),
        agent_token=_token(head.fields.get(b"x-access-token", b"")),
    )


def _token(value: bytes) -> str:
    text = value.decode("latin-1")
    return text if text.isascii() and text.isprintable() and len(text) <= _MAX_TOKEN_CHARACTERS else ""


def problem_of(sandbox_id: str, error: SandbankError) -> Problem:
    """The page for an outcome that is no address."""
    if isinstance(error, DeniedError):
        return page.resume_denied(sandbox_id)
    if isinstance(error, ConflictError) and error.message == _TRANSITIONING:
        return page.still_transitioning(sandbox_id)
    if isinstance(error, ExhaustedError):
        return page.team_limit(sandbox_id, error.message)
    return page.sandbox_not_found(sandbox_id)


class _Call:
    def __init__(self, task: asyncio.Task[str | SandbankError]) -> None:
        self.task = task
        self.waiters = 0


class Resumer:
    """Asks the API through `ask`, whose arguments are what to ask and how many seconds it may take. To be closed inside the loop.

    Requests for the same port with the same tokens share one call. It ends with the last of them.
    """

    def __init__(self, ask: Ask, timeout_seconds: float) -> None:
        self._ask = ask
        self._timeout_seconds = timeout_seconds
        self._calls: dict[Knock, _Call] = {}
        self._turns = asyncio.Semaphore(_MAX_CALLS)
        self._tasks = TaskGroup("resume", self._task_failed)
        self._down = False

    async def resume(self, knock: Knock) -> str | SandbankError:
        """The address of the sandbox's node, or what keeps it from being reached. Takes no longer than the time given at the start."""
        call = self._calls.get(knock)
        if call is None:
            call = self._calls[knock] = _Call(self._tasks.start("call", self._call(knock)))
        call.waiters += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.waiters -= 1
            if call.waiters == 0:
                call.task.cancel()
                if self._calls.get(knock) is call:
                    del self._calls[knock]

    async def find(self, head: RequestHead, target: Target) -> Problem | None:
        """The same for a request to a sandbox that has to be on the one node there is: what keeps it from being reached, if anything."""
        outcome = await self.resume(knock_of(head, target))
        return problem_of(target.sandbox_id, outcome) if isinstance(outcome, SandbankError) else None

    async def close(self) -> None:
        """Break off what is in flight."""
        await self._tasks.close()

    async def _call(self, knock: Knock) -> str | SandbankError:
        try:
            async with asyncio.timeout(self._timeout_seconds), self._turns:
                address = await self._ask(knock, self._timeout_seconds)
        except TimeoutError:
            return self._failed(DeadlineError("the API did not answer in time"))
        except (NotFoundError, DeniedError, ConflictError, ExhaustedError) as error:
            self._down = False
            return error
        except SandbankError as error:
            return self._failed(error)
        self._down = False
        return address or NotFoundError("the API named no node")

    def _failed(self, error: SandbankError) -> SandbankError:
        if not self._down:  # say it once
            self._down = True
            logger.warning("cannot ask for sandboxes that the catalog does not know", error=error.message)
        return error

    @staticmethod
    def _task_failed(task: str, error: BaseException) -> None:
        logger.error("task failed", task=task, exc_info=error)
