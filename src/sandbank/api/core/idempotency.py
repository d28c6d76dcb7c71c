"""`Idempotency-Key`: the same request sent twice makes one sandbox (sdk-latest contract §1.2)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.ports import Clock
from sandbank.domain.errors import ConflictError, InvalidError, SandbankError
from sandbank.domain.idempotency import IdempotencyEntry
from sandbank.domain.identifiers import new_sandbox_id
from sandbank.domain.sandbox import Sandbox

_KEY = re.compile(r"[a-z0-9-]{1,255}")
# Longer than any create goes on, answered or not: three nodes that do not answer, and a wait for a full one.
_LONGEST_CREATE_SECONDS = 240.0

Answer = Mapping[str, Any]


class IdempotencyMismatchError(ConflictError):
    """The key was used for another request."""


class Keys(Protocol):
    """See `sandbank.state.idempotency_store.IdempotencyStore`."""

    async def claim(self, team_id: str, key: str, entry: IdempotencyEntry) -> IdempotencyEntry | None: ...

    async def settle(self, team_id: str, key: str, subject: str, outcome: str) -> None: ...

    async def release(self, team_id: str, key: str, subject: str) -> None: ...


class Finder(Protocol):
    """What is running."""

    async def find(self, sandbox_id: str) -> Sandbox | None: ...


class IdempotentCreates:
    """Remembers what each key of each team made.

    The sandbox's ID is noted with the key before the sandbox is made. So if we are killed in between, whoever asks again gets the sandbox
    that came to life all the same, and never a second one.
    """

    def __init__(self, keys: Keys, sandboxes: Finder, clock: Clock, tasks: TaskGroup) -> None:
        self._keys = keys
        self._sandboxes = sandboxes
        self._clock = clock
        self._tasks = tasks

    async def once(
        self,
        team_id: str,
        key: str,
        fingerprint: str,
        create: Callable[[str], Awaitable[Sandbox]],
        describe: Callable[[Sandbox], Answer],
    ) -> Answer:
        """What `describe` says of the sandbox that `create` makes with the ID it is given, or said of it when this key was first used.

        `IdempotencyMismatchError` for another `fingerprint`, `ConflictError` while the first request is at work or when nobody knows what
        came of it. One that failed is forgotten, so the key can be used again. A cancelled caller does not stop the work.
        """
        if _KEY.fullmatch(key) is None:
            raise InvalidError(
                'validation error: parameter "Idempotency-Key" in header has an error: string doesn\'t match "^[a-z0-9-]{1,255}$"'
            )
        entry = IdempotencyEntry(fingerprint, new_sandbox_id(), self._clock().timestamp())
        taken = await self._keys.claim(team_id, key, entry)
        if taken is not None:
            return await self._answer_again(team_id, key, fingerprint, taken, describe)
        work = self._create(team_id, key, entry.subject, create, describe)
        return await asyncio.shield(self._tasks.start("idempotent create", work))

    async def _create(
        self,
        team_id: str,
        key: str,
        sandbox_id: str,
        create: Callable[[str], Awaitable[Sandbox]],
        describe: Callable[[Sandbox], Answer],
    ) -> Answer:
        try:
            answer = describe(await create(sandbox_id))
        except SandbankError:
            # Nothing was made. Were it not known, as when we are stopped, the key would stay taken.
            with contextlib.suppress(SandbankError):
                await self._keys.release(team_id, key, sandbox_id)
            raise
        await self._settle(team_id, key, sandbox_id, answer)
        return answer

    async def _settle(self, team_id: str, key: str, sandbox_id: str, answer: Answer) -> None:
        # Failing to is no failure of the create: for as long as the sandbox runs, the key leads to it all the same.
        with contextlib.suppress(SandbankError):
            await self._keys.settle(team_id, key, sandbox_id, json.dumps(answer))

    async def _answer_again(
        self, team_id: str, key: str, fingerprint: str, taken: IdempotencyEntry, describe: Callable[[Sandbox], Answer]
    ) -> Answer:
        if taken.fingerprint != fingerprint:
            raise IdempotencyMismatchError(
                "this Idempotency-Key was used for a different request", error_code="idempotency_request_mismatch", should_retry=False
            )
        if taken.outcome is not None:
            remembered: Answer = json.loads(taken.outcome)
            return remembered
        sandbox = await self._sandboxes.find(taken.subject)
        if sandbox is not None:
            answer = describe(sandbox)
            await self._settle(team_id, key, taken.subject, answer)
            return answer
        if self._clock().timestamp() - taken.claimed_at < _LONGEST_CREATE_SECONDS:
            raise ConflictError(
                "a request with this Idempotency-Key is in progress",
                error_code="idempotency_in_progress",
                should_retry=True,
                retry_after_seconds=1,
            )
        raise ConflictError(
            "nobody knows what came of the first request with this Idempotency-Key: look for its sandbox, and take another key",
            error_code="idempotency_outcome_unknown",
            should_retry=False,
        )
