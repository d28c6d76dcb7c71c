"""Tags of templates in SQL: assignments, of which the newest counts (templates contract §0.2, §12.3)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import aliased

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.core.template_tags import TagAssignment, TagCursor, TagGroup, TagOrder, TagQuery
from sandbank.db.base import utc_now
from sandbank.db.models_templates import Env, EnvBuild
from sandbank.db.models_templates import EnvBuildAssignment as Row
from sandbank.domain.errors import InvalidError, NotFoundError

_BY_NAME = (TagOrder.NAME_ASC, TagOrder.NAME_DESC)
_ASCENDING = (TagOrder.NAME_ASC, TagOrder.LATEST_ASC)


class TemplateTagRepo:
    """Implements `sandbank.api.core.template_tags.TagRecords`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def assign(self, template_id: str, build_id: str, tags: Sequence[str]) -> None:
        """See `TagRecords.assign`. While this is written nobody deletes the template (§3.6)."""
        now = utc_now()
        with translated():
            async with self._sessions.begin() as session:
                touched = update(Env).where(Env.id == template_id, Env.deleted_at.is_(None)).values(updated_at=now)
                if not (await session.execute(touched.returning(Env.id))).first():
                    raise NotFoundError(f"template '{template_id}' not found")
                session.add_all(Row(env_id=template_id, build_id=uuid.UUID(build_id), tag=tag, created_at=now) for tag in tags)

    async def remove(self, template_id: str, tags: Sequence[str]) -> None:
        """See `TagRecords.remove`."""
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(delete(Row).where(Row.env_id == template_id, Row.tag.in_(tags)))

    async def latest(self, template_id: str) -> Sequence[TagAssignment]:
        """See `TagRecords.latest`."""
        ranked = select(Row.id, _place().label("place")).where(Row.env_id == template_id).subquery()
        query = select(Row, EnvBuild).join(EnvBuild, EnvBuild.id == Row.build_id).join(ranked, ranked.c.id == Row.id)
        return await self._list(query.where(ranked.c.place == 1).order_by(Row.tag))

    async def count(self, template_id: str) -> int:
        """See `TagRecords.count`."""
        query = select(func.count(Row.tag.distinct())).join(EnvBuild, EnvBuild.id == Row.build_id).where(*_ready(template_id))
        with translated():
            async with self._sessions() as session:
                return await session.scalar(query) or 0

    async def groups(self, template_id: str, query: TagQuery) -> Sequence[TagGroup]:
        """See `TagRecords.groups`: one more than the limit where there are more."""
        tags = (
            select(Row.tag.label("tag"), func.max(Row.created_at).label("latest"))
            .join(EnvBuild, EnvBuild.id == Row.build_id)
            .where(*_ready(template_id))
            .group_by(Row.tag)
        )
        if query.search:
            tags = tags.where(Row.tag.contains(query.search.lower(), autoescape=True))
        grouped = tags.subquery()
        key = grouped.c.tag if query.order in _BY_NAME else grouped.c.latest
        is_ascending = query.order in _ASCENDING
        page = select(grouped.c.tag, grouped.c.latest).limit(query.limit + 1)
        page = page.order_by(*((key, grouped.c.tag) if is_ascending else (key.desc(), grouped.c.tag.desc())))
        if query.after is not None:
            last = query.after.key if query.order in _BY_NAME else query.after.at
            beyond = (key > last, grouped.c.tag > query.after.key) if is_ascending else (key < last, grouped.c.tag < query.after.key)
            page = page.where(or_(beyond[0], and_(key == last, beyond[1])))
        with translated():
            async with self._sessions() as session:
                found = (await session.execute(page)).all()
        newest = await self._newest(template_id, [row.tag for row in found], query.assignments + 1)
        return [
            TagGroup(row.tag, row.latest, newest[row.tag][: query.assignments], len(newest[row.tag]) > query.assignments) for row in found
        ]

    async def assignments(self, template_id: str, tag: str, limit: int, after: TagCursor | None) -> Sequence[TagAssignment]:
        """See `TagRecords.assignments`."""
        query = select(Row, EnvBuild).join(EnvBuild, EnvBuild.id == Row.build_id).where(*_ready(template_id), Row.tag == tag)
        if after is not None:
            query = query.where(or_(Row.created_at < after.at, and_(Row.created_at == after.at, Row.id < _key(after.key))))
        return await self._list(query.order_by(Row.created_at.desc(), Row.id.desc()).limit(limit))

    async def _newest(self, template_id: str, tags: Sequence[str], most: int) -> dict[str, list[TagAssignment]]:
        build = aliased(EnvBuild)
        ranked = (
            select(Row.id, _place().label("place"))
            .join(build, build.id == Row.build_id)
            .where(Row.env_id == template_id, Row.tag.in_(tags), build.status_group == "ready")
            .subquery()
        )
        query = select(Row, EnvBuild).join(EnvBuild, EnvBuild.id == Row.build_id).join(ranked, ranked.c.id == Row.id)
        newest: dict[str, list[TagAssignment]] = {tag: [] for tag in tags}
        for one in await self._list(query.where(ranked.c.place <= most).order_by(ranked.c.place)):
            newest[one.tag].append(one)
        return newest

    async def _list(self, query: Select[Row, EnvBuild]) -> Sequence[TagAssignment]:
        with translated():
            async with self._sessions() as session:
                return [_assignment(row, build) for row, build in await session.execute(query)]


def _place() -> ColumnElement[int]:
    return func.row_number().over(partition_by=Row.tag, order_by=(Row.created_at.desc(), Row.build_id.desc()))


def _ready(template_id: str) -> tuple[ColumnElement[bool], ...]:
    return (Row.env_id == template_id, EnvBuild.status_group == "ready")


def _assignment(row: Row, build: EnvBuild) -> TagAssignment:
    return TagAssignment(str(row.id), row.tag, str(row.build_id), row.created_at, build.created_at, build.finished_at)


def _key(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise InvalidError("Invalid cursor") from error
