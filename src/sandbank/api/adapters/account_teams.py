"""Teams in SQL, for those who run the installation."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Row, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.sql_errors import translated
from sandbank.db.base import utc_now
from sandbank.db.models_accounts import ProjectLimits, Team, TeamApiKey, Tier, UserTeam
from sandbank.db.views import team_limits
from sandbank.domain.errors import ConflictError, InvalidError, NotFoundError
from sandbank.domain.slug import derive_slug, require_slug
from sandbank.domain.uuid_text import parse_uuid

LIMITS = tuple(column.name for column in team_limits.columns if column.name != "id")
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class TeamEntry:
    """A team as its operator sees it. Sizes in `limits` are MiB."""

    team_id: str
    slug: str
    name: str
    email: str
    tier: str
    is_blocked: bool
    blocked_reason: str | None
    is_banned: bool
    members: int
    keys: int
    limits: Mapping[str, int]


class AccountTeams:
    """Creates and changes teams. Running services notice within a second."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def create(self, name: str, email: str, tier: str, slug: str | None) -> TeamEntry:
        """A new team; without `slug` one is made of the name. `ConflictError` if a given one is taken, `InvalidError` for unknown tiers."""
        team_id = uuid.uuid4()
        for attempt in range(_ATTEMPTS):
            chosen = require_slug(slug) if slug is not None else derive_slug(name) + (f"-{secrets.token_hex(2)}" if attempt else "")
            with translated():
                try:
                    async with self._sessions.begin() as session:
                        await _require_tier(session, tier)
                        session.add(Team(id=team_id, name=name, email=email, tier=tier, slug=chosen))
                    return await self.get(str(team_id))
                except IntegrityError as error:
                    if slug is not None or attempt == _ATTEMPTS - 1:
                        raise ConflictError(f"another team has the slug {chosen!r}") from error
        raise AssertionError

    async def list_all(self) -> Sequence[TeamEntry]:
        """All teams by slug."""
        return await self._read()

    async def get(self, reference: str) -> TeamEntry:
        """The team with this ID or slug; `NotFoundError` if there is none."""
        team_id = parse_uuid(reference)
        found = await self._read(Team.slug == reference if team_id is None else Team.id == team_id)
        if not found:
            raise NotFoundError(f"no team has the ID or slug {reference!r}: `sandbank team list` shows them")
        return found[0]

    async def set_blocked(self, reference: str, blocked: bool, reason: str | None) -> None:
        """Block or unblock."""
        await self._update(reference, is_blocked=blocked, blocked_reason=reason)

    async def set_banned(self, reference: str, banned: bool) -> None:
        """Ban or lift the ban."""
        await self._update(reference, is_banned=banned)

    async def set_limits(self, reference: str, changes: Mapping[str, int]) -> None:
        """Give the team limits of its own in place of its tier's and addons': those in force now, with `changes`."""
        team = await self.get(reference)
        values = {**team.limits, **changes}
        if values["default_free_disk_size_mb"] > values["max_disk_size_mb"]:
            raise InvalidError("the default disk size is above the maximum")
        with translated():
            async with self._sessions.begin() as session:
                await session.merge(ProjectLimits(team_id=uuid.UUID(team.team_id), updated_at=utc_now(), **values))

    async def reset_limits(self, reference: str) -> None:
        """Back to tier and addons."""
        team = await self.get(reference)
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(delete(ProjectLimits).where(ProjectLimits.team_id == uuid.UUID(team.team_id)))

    async def _update(self, reference: str, **values: object) -> None:
        team = await self.get(reference)
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(update(Team).where(Team.id == uuid.UUID(team.team_id)).values(**values))

    async def _read(self, *where: ColumnElement[bool]) -> list[TeamEntry]:
        members = select(func.count()).where(UserTeam.team_id == Team.id).scalar_subquery()
        keys = select(func.count()).where(TeamApiKey.team_id == Team.id).scalar_subquery()
        query = (
            select(Team, team_limits, members.label("members"), keys.label("keys"))
            .join(team_limits, team_limits.c.id == Team.id)
            .where(*where)
            .order_by(Team.slug)
        )
        with translated():
            async with self._sessions() as session:
                return [_entry(row) for row in (await session.execute(query)).all()]


def _entry(row: Row[tuple[object, ...]]) -> TeamEntry:
    team: Team = row[0]  # type: ignore[assignment]  # the query's first entity
    return TeamEntry(
        team_id=str(team.id),
        slug=team.slug,
        name=team.name,
        email=team.email,
        tier=team.tier,
        is_blocked=team.is_blocked,
        blocked_reason=team.blocked_reason,
        is_banned=team.is_banned,
        members=row.members,
        keys=row.keys,
        limits={name: getattr(row, name) for name in LIMITS},
    )


async def _require_tier(session: AsyncSession, tier: str) -> None:
    tiers = (await session.scalars(select(Tier.id).order_by(Tier.id))).all()
    if tier not in tiers:
        raise InvalidError(f"no tier is called {tier!r}: there are {', '.join(tiers)}")
