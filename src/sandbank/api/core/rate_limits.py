"""How often a team may call each route (rest-api contract §5)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Protocol

from sandbank.api.core.team import Team
from sandbank.domain.errors import ExhaustedError, InvalidError, SandbankError, UnavailableError
from sandbank.domain.rate_limit import RateLimit, RateVerdict

# Far more than a counter takes: a store that hangs is one that fails.
_COUNT_SECONDS = 0.5
_PARAMETER = re.compile(r"\{[^}]*\}|:[^/]+")


class RateLimitedError(ExhaustedError):
    """The route was called too often; `verdict` says when it may be called again."""

    def __init__(self, verdict: RateVerdict) -> None:
        super().__init__("Rate limit exceeded", retry_after_seconds=max(1, whole_seconds(verdict.retry_after_seconds)))
        self.verdict = verdict


class RateLimitCounters(Protocol):
    """See `sandbank.state.rate_limit_store.RateLimitStore`."""

    async def take(self, key: str, limit: RateLimit) -> RateVerdict: ...


class FailureLog(Protocol):
    """Whom to tell that counting fails."""

    def __call__(self, error: SandbankError) -> None: ...


def whole_seconds(seconds: float) -> int:
    """Rounded up."""
    return -int(-seconds // 1)


def parse_rate_limits(text: str) -> Mapping[str, RateLimit]:
    """Limits by route, of a JSON object `{"/sandboxes/{sandboxID}": {"rate": 10, "burst": 20, "period_s": 1}}`.

    Names of parameters do not matter, and E2B's own way of writing them, `/sandboxes/:sandboxID`, means the same. `InvalidError` otherwise.
    """
    limits: dict[str, RateLimit] = {}
    try:
        configured = json.loads(text)
        for route, fields in configured.items():
            if not route.startswith("/"):
                raise ValueError(f"route {route!r} does not begin with a slash")
            limit = RateLimit(int(fields["rate"]), int(fields.get("burst", fields["rate"])), float(fields.get("period_s", 1)))
            limits[_plain(route)] = limit
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InvalidError(f"rate limits cannot be read: {error!r}") from error
    except InvalidError as error:
        raise InvalidError(f"rate limits cannot be read: {error.message}") from error
    return limits


def _plain(route: str) -> str:
    return _PARAMETER.sub("{}", route)


class RateLimits:
    """Counts per team and route. While counting fails, everything passes: a limit must not become an outage."""

    def __init__(self, limits: Mapping[str, RateLimit], counters: RateLimitCounters, on_failure: FailureLog) -> None:
        self._limits = limits
        self._counters = counters
        self._on_failure = on_failure
        self._is_failing = False
        self._names: dict[str, str] = {}

    async def count(self, team: Team, route: str) -> RateVerdict | None:
        """Count one request to a route (a path pattern, whatever the method); `None` where there is no limit. `RateLimitedError` beyond."""
        if not self._limits:
            return None
        limit = self._limits.get(_plain(route))
        if limit is None:
            return None
        try:
            async with asyncio.timeout(_COUNT_SECONDS):
                verdict = await self._counters.take(f"ratelimit:{team.team_id}:{self._name(route)}", limit)
        except TimeoutError:
            self._failed(UnavailableError("counting took too long"))
            return None
        except SandbankError as error:
            self._failed(error)
            return None
        self._is_failing = False
        if not verdict.allowed:
            raise RateLimitedError(verdict)
        return verdict

    def _failed(self, error: SandbankError) -> None:
        if not self._is_failing:  # say it once
            self._is_failing = True
            self._on_failure(error)

    def _name(self, route: str) -> str:
        # As E2B's tools know the keys (templates contract §7): `/sandboxes/:sandboxID`.
        name = self._names.get(route)
        if name is None:
            name = self._names[route] = re.sub(r"\{([a-z]+)_id\}", r":\1ID", route)
        return name
