"""`Idempotency-Key` over failures, cancellation and restarts (sdk-latest contract §1.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbank.api.core.idempotency import Answer, IdempotencyMismatchError, IdempotentCreates
from sandbank.domain.errors import ConflictError, SandbankError, UnavailableError
from sandbank.domain.idempotency import IdempotencyEntry
from sandbank.domain.sandbox import Sandbox
from sandbank.state.local_idempotency_store import LocalIdempotencyStore
from tests.unit.api.fakes import Core
from tests.unit.api.made import NOON, sandbox


def describe(made: Sandbox) -> Answer:
    return {"sandboxID": made.sandbox_id, "startedAt": made.started_at.isoformat()}


class Creates:
    """Counts what it is asked to make."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.made: list[str] = []
        self.error: SandbankError | None = None
        self.gate: asyncio.Event | None = None

    async def __call__(self, sandbox_id: str) -> Sandbox:
        self.made.append(sandbox_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        created = sandbox(sandbox_id)
        await self.core.store.add(created)
        return created


@pytest.fixture
def creates(core: Core) -> Creates:
    return Creates(core)


def idempotent(core: Core, keys: Any) -> Callable[..., Any]:
    once = IdempotentCreates(keys, core.store, core.clock, core.tasks).once
    return lambda creates, key="k", fingerprint="f": once("t1", key, fingerprint, creates, describe)


async def test_a_failed_create_frees_the_key(core: Core, creates: Creates) -> None:
    once = idempotent(core, LocalIdempotencyStore())
    creates.error = UnavailableError("no node")
    with pytest.raises(UnavailableError):
        await once(creates)
    creates.error = None
    answer = await once(creates)
    assert answer["sandboxID"] == creates.made[1]
    assert await once(creates) == answer
    assert len(creates.made) == 2


async def test_a_caller_that_leaves_does_not_make_a_second_sandbox(core: Core, creates: Creates) -> None:
    once = idempotent(core, LocalIdempotencyStore())
    creates.gate = asyncio.Event()
    first = asyncio.ensure_future(once(creates))
    while not creates.made:
        await asyncio.sleep(0.001)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(ConflictError, match="in progress") as early:
        await once(creates)
    assert (early.value.error_code, early.value.should_retry) == ("idempotency_in_progress", True)
    creates.gate.set()
    while not await core.store.find(creates.made[0]):
        await asyncio.sleep(0.001)
    assert (await once(creates))["sandboxID"] == creates.made[0]
    assert len(creates.made) == 1


async def test_the_outcome_is_remembered_after_the_sandbox_is_gone_and_the_process_was_killed(
    core: Core, creates: Creates, tmp_path: Path
) -> None:
    answer = await idempotent(core, LocalIdempotencyStore(tmp_path / "keys.db"))(creates)
    assert await core.store.forget(creates.made[0], f"exec-{creates.made[0]}")
    again = idempotent(core, LocalIdempotencyStore(tmp_path / "keys.db"))
    assert await again(creates) == answer
    with pytest.raises(IdempotencyMismatchError):
        await again(creates, fingerprint="other")
    assert len(creates.made) == 1


async def test_killed_amid_a_create_the_key_leads_to_the_sandbox_that_came_of_it(core: Core, creates: Creates, tmp_path: Path) -> None:
    """The node's list brings the sandbox back, the key its ID."""
    await LocalIdempotencyStore(tmp_path / "keys.db").claim("t1", "k", IdempotencyEntry("f", "imade", NOON.timestamp()))
    await core.store.add(sandbox("imade"))
    again = idempotent(core, LocalIdempotencyStore(tmp_path / "keys.db"))
    answer = await again(creates)
    assert answer["sandboxID"] == "imade"
    assert await core.store.forget("imade", "exec-imade")
    assert await again(creates) == answer
    assert creates.made == []


async def test_killed_amid_a_create_of_which_nothing_is_known_it_says_so(core: Core, creates: Creates, tmp_path: Path) -> None:
    await LocalIdempotencyStore(tmp_path / "keys.db").claim("t1", "k", IdempotencyEntry("f", "ilost", NOON.timestamp()))
    with pytest.raises(ConflictError) as unknown:
        await idempotent(core, LocalIdempotencyStore(tmp_path / "keys.db"))(creates)
    assert (unknown.value.error_code, unknown.value.should_retry) == ("idempotency_outcome_unknown", False)
    assert creates.made == []


async def test_another_replica_that_died_at_work_is_not_waited_for_for_ever(core: Core, creates: Creates) -> None:
    keys = LocalIdempotencyStore()
    once = idempotent(core, keys)
    await keys.claim("t1", "k", IdempotencyEntry("f", "ilost", NOON.timestamp()))
    for minutes, code in ((1, "idempotency_in_progress"), (4, "idempotency_outcome_unknown")):
        core.clock.pass_by(minutes=minutes)
        with pytest.raises(ConflictError) as refused:
            await once(creates)
        assert refused.value.error_code == code


async def test_a_created_sandbox_is_answered_even_if_its_outcome_cannot_be_noted(
    core: Core, creates: Creates, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = LocalIdempotencyStore()

    async def fail(*_: object) -> None:
        raise UnavailableError("down")

    monkeypatch.setattr(keys, "settle", fail)
    once = idempotent(core, keys)
    answer = await once(creates)
    assert await once(creates) == answer
    assert len(creates.made) == 1


async def test_ten_at_once_make_one(core: Core, creates: Creates) -> None:
    once = idempotent(core, LocalIdempotencyStore())
    answers = await asyncio.gather(*(once(creates) for _ in range(10)), return_exceptions=True)
    assert len(creates.made) == 1
    assert all(isinstance(answer, (dict, ConflictError)) for answer in answers)
