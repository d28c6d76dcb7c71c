"""Rate limits per team and route (rest-api contract §5)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sandbank.api.core.rate_limits import RateLimitedError, RateLimits, parse_rate_limits
from sandbank.domain.errors import InvalidError, SandbankError, UnavailableError
from sandbank.domain.rate_limit import RateLimit, RateVerdict
from sandbank.state.memory_rate_limit_store import MemoryRateLimitStore
from tests.unit.api.made import TEAM


class Broken:
    """A store that is down, or hangs."""

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs

    async def take(self, key: str, limit: RateLimit) -> RateVerdict:
        if self.hangs:
            await asyncio.sleep(3600)
        raise UnavailableError("down")


def limits(text: str, counters: object = None) -> tuple[RateLimits, list[SandbankError]]:
    failures: list[SandbankError] = []
    return RateLimits(parse_rate_limits(text), counters or MemoryRateLimitStore(lambda: 0.0), failures.append), failures  # type: ignore[arg-type]


async def test_a_team_beyond_its_limit_is_refused_and_told_when_to_come_back() -> None:
    """§5: 429 `Rate limit exceeded`, `Retry-After` of at least a second."""
    limited, _ = limits('{"/sandboxes/{sandboxID}": {"rate": 2, "burst": 2, "period_s": 60}}')
    first = await limited.count(TEAM, "/sandboxes/{sandbox_id}")
    second = await limited.count(TEAM, "/sandboxes/{sandbox_id}")
    assert first is not None
    assert second is not None
    assert (first.limit, first.remaining, second.remaining) == (2, 1, 0)
    with pytest.raises(RateLimitedError, match=r"^Rate limit exceeded$") as refused:
        await limited.count(TEAM, "/sandboxes/{sandbox_id}")
    assert refused.value.retry_after_seconds == 30
    assert refused.value.verdict.remaining == 0


async def test_routes_without_a_limit_and_other_teams_are_not_counted() -> None:
    limited, _ = limits('{"/sandboxes/:sandboxID": {"rate": 1, "period_s": 60}}')
    assert await limited.count(TEAM, "/sandboxes") is None
    assert await limited.count(TEAM, "/sandboxes/{x}") is not None
    with pytest.raises(RateLimitedError):
        await limited.count(TEAM, "/sandboxes/{x}")
    assert await limited.count(replace(TEAM, team_id="another"), "/sandboxes/{x}") is not None


@pytest.mark.parametrize("hangs", [False, True])
async def test_everything_passes_while_counting_fails(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    """§5: storage failure → allow. It is logged once."""
    monkeypatch.setattr("sandbank.api.core.rate_limits._COUNT_SECONDS", 0.02)
    limited, failures = limits('{"/sandboxes": {"rate": 1}}', Broken(hangs=hangs))
    assert [await limited.count(TEAM, "/sandboxes") for _ in range(3)] == [None] * 3
    assert len(failures) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"sandboxes": {"rate": 1}}',
        '{"/x": 1}',
        '{"/x": {}}',
        '{"/x": {"rate": 0}}',
        '{"/x": {"rate": 1, "period_s": -1}}',
    ],
)
def test_limits_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="rate limits cannot be read"):
        parse_rate_limits(text)


async def test_memory_keeps_only_what_is_not_paid_for() -> None:
    now = 0.0
    store = MemoryRateLimitStore(lambda: now)
    for number in range(4000):
        await store.take(f"k{number}", RateLimit(1, 1, 1))
    now = 10.0
    for number in range(200):
        await store.take(f"n{number}", RateLimit(1, 1, 1))
    assert len(store) < 250
