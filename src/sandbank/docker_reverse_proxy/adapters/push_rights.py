"""Who may push, out of the database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exists, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.db.failures import UNUSABLE
from sandbank.db.models_accounts import AccessToken, UserTeam
from sandbank.db.models_templates import Env, EnvBuild, EnvBuildAssignment
from sandbank.domain.credentials import ACCESS_TOKEN_PREFIX, hash_credential
from sandbank.domain.development import CREDENTIAL_HASHES
from sandbank.domain.errors import UnavailableError

_PENDING = "pending"
_FAILURES: tuple[type[Exception], ...] = (*UNUSABLE, SQLAlchemyError)


class SqlPushRights:
    """Asks anew each time: a push asks once. The published credentials count only if `allow_seeded`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], *, allow_seeded: bool) -> None:
        self._sessions = sessions
        self._refused: frozenset[str | None] = frozenset() if allow_seeded else CREDENTIAL_HASHES

    async def find_user(self, access_token: str) -> str | None:
        """See `PushRights`."""
        digest = hash_credential(access_token, ACCESS_TOKEN_PREFIX)
        if digest is None or digest in self._refused:
            return None
        query = select(AccessToken.user_id).where(AccessToken.access_token_hash == digest)
        with _translated():
            async with self._sessions() as session:
                user_id = await session.scalar(query)
        return None if user_id is None else str(user_id)

    async def may_push(self, user_id: str, template_id: str) -> bool:
        """See `PushRights`; contract templates-and-data §1.1.2, authorisation query."""
        waiting = (
            select(EnvBuildAssignment.id)
            .join(EnvBuild, EnvBuild.id == EnvBuildAssignment.build_id)
            .where(EnvBuildAssignment.env_id == Env.id, EnvBuild.status_group == _PENDING)
        )
        query = (
            select(Env.id)
            .join(UserTeam, UserTeam.team_id == Env.team_id)
            .where(Env.id == template_id, Env.deleted_at.is_(None), UserTeam.user_id == uuid.UUID(user_id), exists(waiting))
        )
        with _translated():
            async with self._sessions() as session:
                return (await session.scalar(query.limit(1))) is not None

    async def list_existing(self, template_ids: list[str]) -> set[str]:
        """Those that have not been deleted, so that the images of the others can go."""
        query = select(Env.id).where(Env.id.in_(template_ids), Env.deleted_at.is_(None))
        with _translated():
            async with self._sessions() as session:
                return set((await session.scalars(query)).all())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise UnavailableError("the database does not answer") from error
