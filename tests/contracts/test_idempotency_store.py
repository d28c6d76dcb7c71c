"""Both halves of what is remembered of requests that may be sent twice (sdk-latest contract §1.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from sandbank.domain.errors import UnavailableError
from sandbank.domain.idempotency import IdempotencyEntry
from sandbank.state.idempotency_store import KEPT_SECONDS, IdempotencyStore
from sandbank.state.local_idempotency_store import LocalIdempotencyStore
from sandbank.state.redis_idempotency_store import RedisIdempotencyStore
from tests.contracts.redis_server import empty_redis

ENTRY = IdempotencyEntry("fingerprint", "isubject", 1_800_000_000.5)


@pytest.fixture(params=["memory", "file", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[IdempotencyStore]:
    if request.param == "redis":
        async with empty_redis(request.getfixturevalue("redis_socket")) as redis:
            yield RedisIdempotencyStore(redis)
        return
    local = LocalIdempotencyStore(tmp_path / "data" / "keys.db" if request.param == "file" else None)
    yield local
    await local.close()


async def test_the_first_claim_takes_the_key(store: IdempotencyStore) -> None:
    assert await store.claim("t", "k", ENTRY) is None
    assert await store.claim("t", "k", replace(ENTRY, fingerprint="other", subject="iother")) == ENTRY
    assert await store.claim("t", "k2", ENTRY) is None
    assert await store.claim("t2", "k", ENTRY) is None


async def test_one_of_many_claims_wins(store: IdempotencyStore) -> None:
    answers = await asyncio.gather(*(store.claim("t", "k", replace(ENTRY, subject=f"i{number}")) for number in range(20)))
    assert answers.count(None) == 1
    assert len({answer for answer in answers if answer is not None}) == 1


async def test_the_outcome_is_for_whoever_comes_later(store: IdempotencyStore) -> None:
    await store.claim("t", "k", ENTRY)
    await store.settle("t", "k", "isubject", '{"sandboxID":"isubject","ö":null}')
    assert await store.claim("t", "k", ENTRY) == replace(ENTRY, outcome='{"sandboxID":"isubject","ö":null}')


async def test_a_released_key_is_free_and_a_settled_one_is_not(store: IdempotencyStore) -> None:
    await store.claim("t", "k", ENTRY)
    await store.release("t", "k", "isubject")
    assert await store.claim("t", "k", ENTRY) is None
    await store.settle("t", "k", "isubject", "{}")
    await store.release("t", "k", "isubject")
    assert await store.claim("t", "k", ENTRY) == replace(ENTRY, outcome="{}")


async def test_only_the_claimant_settles_and_releases(store: IdempotencyStore) -> None:
    await store.claim("t", "k", ENTRY)
    await store.settle("t", "k", "isomebody", "{}")
    await store.release("t", "k", "isomebody")
    assert await store.claim("t", "k", ENTRY) == ENTRY


async def test_a_file_outlives_its_process_and_says_that_work_in_progress_is_over(tmp_path: Path) -> None:
    first = LocalIdempotencyStore(tmp_path / "keys.db")
    await first.claim("t", "done", ENTRY)
    await first.settle("t", "done", "isubject", "{}")
    await first.claim("t", "begun", ENTRY)
    # Not closed: as if killed.
    second = LocalIdempotencyStore(tmp_path / "keys.db")
    assert await second.claim("t", "done", ENTRY) == replace(ENTRY, outcome="{}")
    assert await second.claim("t", "begun", ENTRY) == replace(ENTRY, claimed_at=0)
    assert (tmp_path / "keys.db").stat().st_mode & 0o077 == 0
    await first.close()
    await second.close()


async def test_keys_are_forgotten_after_a_day(tmp_path: Path) -> None:
    local = LocalIdempotencyStore()
    await local.claim("t", "k", ENTRY)
    assert await local.claim("t", "k", replace(ENTRY, claimed_at=ENTRY.claimed_at + KEPT_SECONDS)) is None
    await local.close()


async def test_redis_forgets_after_a_day_even_if_settled(redis: Redis) -> None:
    store = RedisIdempotencyStore(redis)
    await store.claim("t", "k", ENTRY)
    await store.settle("t", "k", "isubject", "{}")
    assert KEPT_SECONDS - 10 < await redis.ttl("idempotency:{t}:k") <= KEPT_SECONDS


async def test_the_newest_keys_of_a_team_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbank.state.local_idempotency_store._KEPT_PER_TEAM", 10)
    monkeypatch.setattr("sandbank.state.local_idempotency_store._SWEEP_EVERY", 5)
    local = LocalIdempotencyStore()
    await local.claim("another", "k", ENTRY)
    for number in range(50):
        await local.claim("t", f"k{number}", replace(ENTRY, claimed_at=ENTRY.claimed_at + number))
    again = replace(ENTRY, subject="iagain", claimed_at=ENTRY.claimed_at + 100)
    assert await local.claim("t", "k49", again) is not None
    assert await local.claim("t", "k0", again) is None
    assert await local.claim("another", "k", again) is not None
    await local.close()


async def test_stores_that_cannot_be_used_are_unavailable(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_bytes(b"this is no database" * 100)
    local = LocalIdempotencyStore(tmp_path / "keys.db")
    with pytest.raises(UnavailableError, match="idempotency keys cannot be kept"):
        await local.claim("t", "k", ENTRY)
    redis: Redis = Redis(host="127.0.0.1", port=1)
    with pytest.raises(UnavailableError, match="Redis does not answer"):
        await RedisIdempotencyStore(redis).claim("t", "k", ENTRY)
    await redis.aclose()
