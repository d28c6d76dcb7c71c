"""How long a sandbox may live (REST contract §5, §8.8–8.10)."""

from __future__ import annotations

from datetime import datetime, timedelta

from sandbank.api.core.team import Team
from sandbank.domain.errors import InvalidError
from sandbank.domain.sandbox import Sandbox

V1_DEFAULT_SECONDS = 15
V2_DEFAULT_SECONDS = 300
_SHORTEST_REFRESH_SECONDS = 15


def require_within_plan(team: Team, timeout_seconds: int) -> None:
    """`InvalidError` for a timeout beyond what the team may ask for."""
    if timeout_seconds > team.max_length_hours * 3600:
        raise InvalidError(f"Timeout cannot be greater than {team.max_length_hours} hours")


def end_after(sandbox: Sandbox, now: datetime, seconds: int) -> datetime:
    """`seconds` from `now`, capped at the longest this execution may run; `InvalidError` once that is over."""
    latest = sandbox.latest_end_at
    if now >= latest:
        raise InvalidError("Max instance length exceeded")
    return min(now + timedelta(seconds=seconds), latest)


def refreshed_end(sandbox: Sandbox, now: datetime, seconds: int) -> datetime:
    """As `end_after` but never earlier than it is, and never less than a moment from now."""
    return max(sandbox.end_at, end_after(sandbox, now, max(_SHORTEST_REFRESH_SECONDS, seconds)))
