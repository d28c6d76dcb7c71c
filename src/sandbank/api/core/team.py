"""Who asks: teams with their limits, users, and what a banned or blocked team may still do (REST contract §3.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbank.domain.errors import DeniedError


@dataclass(frozen=True, slots=True)
class Team:
    """A team and what it may use. Sizes in MiB."""

    team_id: str
    slug: str
    name: str
    concurrent_sandboxes: int
    max_length_hours: int
    is_banned: bool = False
    is_blocked: bool = False
    blocked_reason: str | None = None
    concurrent_builds: int = 20
    max_vcpu: int = 8
    max_ram_mb: int = 8192
    free_disk_mb: int = 512  # what a build gets beyond what its files take
    max_disk_mb: int = 25600


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's place in a team."""

    team_id: str
    team_name: str
    is_default: bool


# What a blocked team may do: look, and clean up. Parameters are `{}`, whatever a route calls them.
OPEN_TO_BLOCKED = frozenset(
    {
        ("GET", "/api-keys"),
        ("GET", "/sandboxes"),
        ("GET", "/sandboxes/metrics"),
        ("GET", "/sandboxes/{}"),
        ("GET", "/sandboxes/{}/logs"),
        ("GET", "/sandboxes/{}/metrics"),
        ("GET", "/v2/sandboxes"),
        ("GET", "/v2/sandboxes/{}/logs"),
        ("GET", "/secrets"),
        ("GET", "/secrets/{}"),
        ("GET", "/snapshots"),
        ("GET", "/teams/{}/metrics"),
        ("GET", "/teams/{}/metrics/max"),
        ("GET", "/templates"),
        ("GET", "/v2/templates"),
        ("GET", "/templates/{}"),
        ("GET", "/templates/{}/tags"),
        ("GET", "/templates/aliases/{}"),
        ("GET", "/templates/{}/builds/{}/status"),
        ("GET", "/templates/{}/builds/{}/logs"),
        ("GET", "/volumes"),
        ("GET", "/volumes/{}"),
        ("DELETE", "/sandboxes/{}"),
        ("DELETE", "/templates/{}"),
        ("DELETE", "/templates/tags"),
        ("DELETE", "/volumes/{}"),
        ("DELETE", "/api-keys/{}"),
    }
)
_PARAMETER = re.compile(r"\{[^}]*\}")


def require_allowed(team: Team, method: str, route: str) -> None:
    """`DeniedError` for a banned team always, for a blocked one on every route (a path pattern) that is not open to it."""
    if team.is_banned:
        raise DeniedError("team is banned")
    if team.is_blocked and (method, _PARAMETER.sub("{}", route)) not in OPEN_TO_BLOCKED:
        raise DeniedError(f"team is blocked: {team.blocked_reason}" if team.blocked_reason else "team is blocked")
