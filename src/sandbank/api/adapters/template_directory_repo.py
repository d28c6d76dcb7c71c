"""Templates by name and ID in SQL (templates contract §0.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.adapters.template_names import names_of
from sandbank.api.adapters.template_repo import SOURCES, find_build
from sandbank.api.core.template_directory import TemplateEntry
from sandbank.db.base import utc_now
from sandbank.db.models_templates import Env, EnvAlias
from sandbank.domain.template_reference import TemplateReference


class TemplateDirectoryRepo:
    """Implements `sandbank.api.core.template_directory.TemplateDirectory`; `on_change` hears of every name that means another."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], on_change: Callable[[], None]) -> None:
        self._sessions = sessions
        self._on_change = on_change

    async def find(self, template_id: str) -> TemplateEntry | None:
        """See `TemplateDirectory.find`."""
        with translated():
            async with self._sessions() as session:
                return _entry(await session.get(Env, template_id))

    async def find_named(self, slug: str, reference: TemplateReference) -> TemplateEntry | None:
        """See `TemplateDirectory.find_named`."""
        named = select(Env).join(EnvAlias, EnvAlias.env_id == Env.id).where(EnvAlias.alias == reference.identifier)
        if reference.namespace is not None:
            named = named.where(EnvAlias.namespace == reference.namespace)
        else:
            # The team's own name goes before a promoted one.
            named = named.where(or_(EnvAlias.namespace == slug, EnvAlias.namespace.is_(None))).order_by(EnvAlias.namespace.is_(None))
        with translated():
            async with self._sessions() as session:
                found = [_entry(env) for env in await session.scalars(named)]
        return next((entry for entry in found if entry is not None), None)

    async def names(self, template_id: str) -> Sequence[str]:
        """See `TemplateDirectory.names`."""
        with translated():
            async with self._sessions() as session:
                return (await names_of(session, template_id))[1]

    async def find_ready_build(self, template_id: str, reference: TemplateReference) -> str | None:
        """See `TemplateDirectory.find_ready_build`."""
        with translated():
            async with self._sessions() as session:
                build = await find_build(session, template_id, reference)
        return None if build is None else str(build.id)

    async def set_public(self, template_id: str, public: bool) -> None:
        """See `TemplateDirectory.set_public`."""
        values = {"public": public, "updated_at": utc_now()}
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(update(Env).where(Env.id == template_id).values(**values))
        self._on_change()

    async def promote(self, template_id: str, slug: str) -> str | None:
        """See `TemplateDirectory.promote`. Promoted names do not change with the template's own."""
        with translated():
            async with self._sessions.begin() as session:
                mine = select(EnvAlias.alias).where(EnvAlias.env_id == template_id, EnvAlias.namespace == slug).order_by(EnvAlias.alias)
                for alias in (await session.scalars(mine)).all():
                    promoted = select(EnvAlias.env_id).where(EnvAlias.alias == alias, EnvAlias.namespace.is_(None))
                    holder = await session.scalar(promoted)
                    if holder is None:
                        session.add(EnvAlias(alias=alias, namespace=None, env_id=template_id, is_renamable=False))
                    elif holder != template_id:
                        return alias
        self._on_change()
        return None


def _entry(env: Env | None) -> TemplateEntry | None:
    if env is None or env.deleted_at is not None or env.source not in SOURCES:
        return None
    return TemplateEntry(env.id, str(env.team_id), env.public, env.source)
