"""Templates' names as rows: aliases in a team's namespace, or in nobody's (templates contract §0.2, §1.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from sandbank.api.core.team import Team
from sandbank.db.models_templates import Env, EnvAlias
from sandbank.domain.errors import ConflictError, DeniedError


async def take_name(session: AsyncSession, team: Team, template_id: str, alias: str) -> None:
    """Call the team's template so, and so only where its names may change; nothing to do where it is called so already.

    `ConflictError` for what is some template's ID, be it deleted; `DeniedError` for another template's name.
    """
    if await session.get(Env, alias) is not None:
        raise ConflictError(f"Alias '{alias}' is already used")
    holder = await session.scalar(select(EnvAlias.env_id).where(EnvAlias.alias == alias, EnvAlias.namespace == team.slug))
    if holder == template_id:
        return
    if holder is not None:
        raise DeniedError(f"Alias '{alias}' already used")
    await session.execute(delete(EnvAlias).where(EnvAlias.env_id == template_id, EnvAlias.is_renamable))
    session.add(EnvAlias(alias=alias, namespace=team.slug, env_id=template_id))


async def names_of(session: AsyncSession, template_id: str) -> tuple[Sequence[str], Sequence[str]]:
    """A template's aliases, and its names with their namespaces."""
    return (await all_names(session, [template_id])).get(template_id, ([], []))


async def all_names(session: AsyncSession, template_ids: Sequence[str]) -> dict[str, tuple[list[str], list[str]]]:
    """The same of several; those without any are not there."""
    rows = await session.scalars(select(EnvAlias).where(EnvAlias.env_id.in_(template_ids)).order_by(EnvAlias.alias, EnvAlias.namespace))
    return group_names(rows)


def group_names(rows: Iterable[EnvAlias]) -> dict[str, tuple[list[str], list[str]]]:
    """By template."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for row in rows:
        aliases, names = found.setdefault(row.env_id, ([], []))
        if row.alias not in aliases:
            aliases.append(row.alias)
        names.append(row.alias if row.namespace is None else f"{row.namespace}/{row.alias}")
    return found
