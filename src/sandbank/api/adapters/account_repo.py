"""Accounts in SQL, cached."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Select, and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.cache import RefreshingCache
from sandbank.api.adapters.sql_errors import translated
from sandbank.api.core.ports import Identity
from sandbank.api.core.team import Membership, Team
from sandbank.db import models_accounts as models
from sandbank.db.seed import api_key_row
from sandbank.db.views import team_limits

_TEAM = (
    models.Team.id,
    models.Team.slug,
    models.Team.name,
    models.Team.is_banned,
    models.Team.is_blocked,
    models.Team.blocked_reason,
    team_limits.c.concurrent_sandboxes,
    team_limits.c.max_length_hours,
    team_limits.c.concurrent_template_builds,
    team_limits.c.max_vcpu,
    team_limits.c.max_ram_mb,
    team_limits.c.disk_mb,
    team_limits.c.max_disk_size_mb,
)


class AccountRepo:
    """Reads whom credentials stand for. `on_key_used` hears of a key each time its row is read, so about once a minute while in use.

    Each kind of credential has a cache of its own: what one kind calls itself is never looked up as another.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession], tasks: TaskGroup, on_key_used: Callable[[str], None]) -> None:
        self._sessions = sessions
        self._on_key_used = on_key_used
        self._teams_by_key: RefreshingCache[str, Team] = RefreshingCache(self._load_by_key, tasks)
        self._teams: RefreshingCache[str, Team] = RefreshingCache(self._load_team, tasks)
        self._users: RefreshingCache[str, str] = RefreshingCache(self._load_user, tasks)
        self._users_by_identity: RefreshingCache[Identity, str] = RefreshingCache(self._load_user_by_identity, tasks)
        self._member_teams: RefreshingCache[tuple[str, str], Team] = RefreshingCache(self._load_member_team, tasks)
        self._version: int | None = None

    async def find_team_by_key(self, key_hash: str) -> Team | None:
        """The team of an API key."""
        return await self._teams_by_key.get(key_hash)

    async def find_team(self, team_id: str) -> Team | None:
        """A team by its ID, a UUID."""
        return await self._teams.get(team_id)

    async def find_user_by_token(self, token_hash: str) -> str | None:
        """The user of an access token."""
        return await self._users.get(token_hash)

    async def find_user_by_identity(self, identity: Identity) -> str | None:
        """The user whom an identity provider means."""
        return await self._users_by_identity.get(identity)

    async def find_team_of_member(self, user_id: str, team_id: str) -> Team | None:
        """The team, if the user is a member; both are UUIDs."""
        return await self._member_teams.get((user_id, team_id))

    def forget(self) -> None:
        """Read everything anew."""
        for cache in (self._teams_by_key, self._teams, self._users, self._users_by_identity, self._member_teams):
            cache.clear()

    async def forget_if_changed(self) -> None:
        """Read everything anew if anybody, another process or a tool, changed what the caches may hold."""
        with translated():
            async with self._sessions() as session:
                version = await session.scalar(select(models.AccountVersion.version))
        if version != self._version:
            self._version = version
            self.forget()

    async def list_memberships(self, user_id: str) -> Sequence[Membership]:
        """The user's teams, the default one first."""
        query = (
            select(models.Team.id, models.Team.name, models.UserTeam.is_default)
            .join(models.UserTeam, models.UserTeam.team_id == models.Team.id)
            .where(models.UserTeam.user_id == uuid.UUID(user_id))
            .order_by(models.UserTeam.is_default.desc(), models.Team.name)
        )
        with translated():
            async with self._sessions() as session:
                rows = (await session.execute(query)).all()
        return [Membership(str(row.id), row.name, row.is_default) for row in rows]

    async def add_api_key(self, team_id: str, user_id: str, name: str, raw_key: str) -> None:
        """Store a new key's hash."""
        row = api_key_row(raw_key, uuid.UUID(team_id), name, uuid.UUID(user_id))
        with translated():
            async with self._sessions.begin() as session:
                session.add(row)
        self._teams_by_key.invalidate(row.api_key_hash)

    async def remove_surplus_keys(self, team_id: str, user_id: str, name: str, *, unused: int, used: int) -> None:
        """See `Memberships.remove_surplus_keys`; not at each one too many, since every cache of accounts forgets when a key goes."""
        key = models.TeamApiKey
        mine = and_(key.team_id == uuid.UUID(team_id), key.created_by == uuid.UUID(user_id), key.name == name)
        with translated():
            async with self._sessions.begin() as session:
                count, count_used = (await session.execute(select(func.count(), func.count(key.last_used)).where(mine))).one()
                surplus = []
                if count - count_used > 2 * unused:
                    query = select(key.id).where(mine, key.last_used.is_(None))
                    surplus.append(query.order_by(key.created_at.desc(), key.id).offset(unused))
                if count_used > 2 * used:
                    query = select(key.id).where(mine, key.last_used.is_not(None))
                    surplus.append(query.order_by(key.last_used.desc(), key.id).offset(used))
                for query in surplus:
                    # Keys that are written at this moment are in use, or somebody else removes them.
                    await session.execute(delete(key).where(key.id.in_(query.with_for_update(skip_locked=True))))
        if surplus:
            self.forget()

    async def _load_by_key(self, key_hash: str) -> Team | None:
        query = (
            select(*_TEAM)
            .join(team_limits, team_limits.c.id == models.Team.id)
            .join(models.TeamApiKey, models.TeamApiKey.team_id == models.Team.id)
            .where(models.TeamApiKey.api_key_hash == key_hash)
        )
        team = await self._team(query)
        if team is not None:
            self._on_key_used(key_hash)
        return team

    async def _load_team(self, team_id: str) -> Team | None:
        query = select(*_TEAM).join(team_limits, team_limits.c.id == models.Team.id).where(models.Team.id == uuid.UUID(team_id))
        return await self._team(query)

    async def _team(self, query: Select[*tuple[Any, ...]]) -> Team | None:
        with translated():
            async with self._sessions() as session:
                row = (await session.execute(query)).first()
        if row is None:
            return None
        return Team(
            team_id=str(row.id),
            slug=row.slug,
            name=row.name,
            concurrent_sandboxes=row.concurrent_sandboxes,
            max_length_hours=row.max_length_hours,
            is_banned=row.is_banned,
            is_blocked=row.is_blocked,
            blocked_reason=row.blocked_reason,
            concurrent_builds=row.concurrent_template_builds,
            max_vcpu=row.max_vcpu,
            max_ram_mb=row.max_ram_mb,
            free_disk_mb=row.disk_mb,
            max_disk_mb=row.max_disk_size_mb,
        )

    async def _load_user(self, token_hash: str) -> str | None:
        query = select(models.AccessToken.user_id).where(models.AccessToken.access_token_hash == token_hash)
        with translated():
            async with self._sessions() as session:
                user_id = await session.scalar(query)
        return None if user_id is None else str(user_id)

    async def _load_user_by_identity(self, identity: Identity) -> str | None:
        row = models.UserIdentity
        query = select(row.user_id).where(row.oidc_iss == identity.issuer, row.oidc_sub == identity.subject)
        with translated():
            async with self._sessions() as session:
                user_id = await session.scalar(query)
        return None if user_id is None else str(user_id)

    async def _load_member_team(self, pair: tuple[str, str]) -> Team | None:
        user_id, team_id = (uuid.UUID(part) for part in pair)
        query = (
            select(*_TEAM)
            .join(team_limits, team_limits.c.id == models.Team.id)
            .join(models.UserTeam, models.UserTeam.team_id == models.Team.id)
            .where(models.Team.id == team_id, models.UserTeam.user_id == user_id)
        )
        return await self._team(query)
