"""Users and memberships in SQL, for those who run the installation."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.core.ports import Identity
from sandbank.db.models_accounts import Team, User, UserIdentity, UserTeam
from sandbank.domain.errors import ConflictError, NotFoundError
from sandbank.domain.uuid_text import parse_uuid


@dataclass(frozen=True, slots=True)
class UserEntry:
    """A user as an operator sees them: who they are elsewhere, and the slugs of their teams, the default one first."""

    user_id: str
    identities: tuple[Identity, ...]
    teams: tuple[str, ...]


class AccountUsers:
    """Creates users and puts them into teams. Running services notice within a second."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def create(self, identity: Identity | None) -> UserEntry:
        """A new user; `ConflictError` if the identity is somebody's already."""
        user_id = uuid.uuid4()
        with translated():
            try:
                async with self._sessions.begin() as session:
                    session.add(User(id=user_id))
                    await session.flush()
                    if identity is not None:
                        session.add(UserIdentity(oidc_iss=identity.issuer, oidc_sub=identity.subject, user_id=user_id))
            except IntegrityError as error:
                raise ConflictError("another user has this identity: `sandbank user list` shows whom") from error
        return UserEntry(str(user_id), () if identity is None else (identity,), ())

    async def list_all(self) -> Sequence[UserEntry]:
        """All users, oldest first."""
        memberships = (
            select(UserTeam.user_id, Team.slug).join(Team, Team.id == UserTeam.team_id).order_by(UserTeam.is_default.desc(), Team.slug)
        )
        with translated():
            async with self._sessions() as session:
                users = (await session.scalars(select(User.id).order_by(User.created_at, User.id))).all()
                identities = (await session.scalars(select(UserIdentity).order_by(UserIdentity.oidc_iss))).all()
                teams = (await session.execute(memberships)).all()
        return [
            UserEntry(
                str(user_id),
                tuple(Identity(row.oidc_iss, row.oidc_sub) for row in identities if row.user_id == user_id),
                tuple(row.slug for row in teams if row.user_id == user_id),
            )
            for user_id in users
        ]

    async def get_id(self, text: str) -> str:
        """The ID of an existing user; `NotFoundError` if there is none."""
        user_id = parse_uuid(text)
        with translated():
            async with self._sessions() as session:
                found = None if user_id is None else await session.get(User, user_id)
        if found is None:
            raise NotFoundError(f"no user has the ID {text!r}: `sandbank user list` shows them")
        return str(found.id)

    async def add_member(self, team_id: str, user_id: str, *, default: bool) -> None:
        """Put a user into a team. Their first team, or one that is to be it, is their default one."""
        team, user = uuid.UUID(team_id), uuid.UUID(user_id)
        with translated():
            async with self._sessions.begin() as session:
                theirs = (await session.scalars(select(UserTeam).where(UserTeam.user_id == user))).all()
                is_default = default or not any(row.is_default for row in theirs)
                if is_default:
                    await session.execute(update(UserTeam).where(UserTeam.user_id == user).values(is_default=False))
                row = next((row for row in theirs if row.team_id == team), None)
                if row is None:
                    session.add(UserTeam(user_id=user, team_id=team, is_default=is_default))
                elif is_default:
                    await session.execute(update(UserTeam).where(UserTeam.uuid_id == row.uuid_id).values(is_default=True))

    async def remove_member(self, team_id: str, user_id: str) -> None:
        """Take a user out of a team; keys that they made stay the team's. `NotFoundError` if they are no member."""
        query = delete(UserTeam).where(UserTeam.user_id == uuid.UUID(user_id), UserTeam.team_id == uuid.UUID(team_id))
        with translated():
            async with self._sessions.begin() as session:
                if (await session.execute(query.returning(UserTeam.uuid_id))).first() is None:
                    raise NotFoundError("the user is not a member of the team")
