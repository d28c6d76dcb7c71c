"""Templates in SQL, cached: from what a team says to a ready build (REST contract §4.3, templates contract §0.2)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.cache import RefreshingCache
from sandbank.api.adapters.sql_errors import translated
from sandbank.api.core.team import Team
from sandbank.api.core.template import Template
from sandbank.db.models_templates import Env, EnvAlias, EnvBuild, EnvBuildAssignment
from sandbank.domain.errors import NotFoundError
from sandbank.domain.template_reference import DEFAULT_TAG, TemplateReference

SOURCES = ("template", "snapshot_template")


@dataclass(frozen=True, slots=True)
class _Question:
    """All that an answer depends on."""

    team_id: str
    slug: str
    reference: TemplateReference


class TemplateRepo:
    """Reads templates. Answers are kept for minutes; whoever changes a template in this process calls `forget`.

    Where other API processes change templates, too, nothing is kept.
    """

    def __init__(
        self, sessions: async_sessionmaker[AsyncSession], tasks: TaskGroup, *, is_shared: bool = False, shares_artifacts: bool = False
    ) -> None:
        self._sessions = sessions
        self._is_shared = is_shared
        self._shares_artifacts = shares_artifacts  # or only the node that has built a template can make sandboxes of it
        self._ids: RefreshingCache[_Question, str] = RefreshingCache(self._load_id, tasks)
        self._templates: RefreshingCache[_Question, Template] = RefreshingCache(self._load, tasks)

    async def get(self, team: Team, reference: TemplateReference) -> Template:
        """See `sandbank.api.core.ports.Templates.get`."""
        question = _Question(team.team_id, team.slug, reference)
        template = None if self._is_shared else await self._templates.get(question)
        if self._is_shared or (template is not None and template.snapshot_node_id is not None):
            # Snapshots come and go by the minute, and other API processes change all of them, too.
            template = await self._load(question)
        if template is not None:
            return template
        if reference.tag is not None and await self._id(question) is not None:
            raise NotFoundError(f"tag '{reference.tag}' does not exist for template '{reference.name}'")
        raise NotFoundError(f"template '{reference}' not found")

    async def find_template_id(self, team: Team, reference: TemplateReference) -> str | None:
        """See `sandbank.api.core.ports.Templates.find_template_id`."""
        return await self._id(_Question(team.team_id, team.slug, reference))

    def forget(self) -> None:
        """Read everything anew."""
        self._ids.clear()
        self._templates.clear()

    async def _id(self, question: _Question) -> str | None:
        return await (self._load_id(question) if self._is_shared else self._ids.get(question))

    async def _load_id(self, question: _Question) -> str | None:
        with translated():
            async with self._sessions() as session:
                env = await _find_env(session, question)
        return None if env is None else env.id

    async def _load(self, question: _Question) -> Template | None:
        with translated():
            async with self._sessions() as session:
                env = await _find_env(session, question)
                build = None if env is None else await find_build(session, env.id, question.reference)
                if env is None or build is None:
                    return None
                first_alias = select(EnvAlias.alias).where(EnvAlias.env_id == env.id).order_by(EnvAlias.alias).limit(1)
                alias = await session.scalar(first_alias)
        return Template(
            template_id=env.id,
            build_id=str(build.id),
            alias=alias,
            vcpu=build.vcpu,
            ram_mb=build.ram_mb,
            disk_mb=build.total_disk_size_mb or build.free_disk_size_mb,
            envd_version=build.envd_version or "",
            kernel_version=build.kernel_version,
            firecracker_version=build.firecracker_version,
            snapshot_node_id=(build.cluster_node_id or "") if env.source == "snapshot_template" else None,
            origin_node_id=build.cluster_node_id if env.source == "snapshot_template" or not self._shares_artifacts else None,
        )


async def _find_env(session: AsyncSession, question: _Question) -> Env | None:
    """The template if the team may use it: its own, or a public one."""
    for template_id in await _candidates(session, question):
        env = await session.get(Env, template_id)
        if env is not None and env.deleted_at is None and env.source in SOURCES:
            return env if env.public or str(env.team_id) == question.team_id else None
    return None


async def _candidates(session: AsyncSession, question: _Question) -> list[str]:
    reference = question.reference
    named = EnvAlias.alias == reference.identifier
    if reference.namespace is not None:
        query = select(EnvAlias.env_id).where(named, EnvAlias.namespace == reference.namespace)
        return list((await session.scalars(query)).all())
    # The team's own name goes before a promoted one, a name before an ID.
    query = (
        select(EnvAlias.env_id)
        .where(named, or_(EnvAlias.namespace == question.slug, EnvAlias.namespace.is_(None)))
        .order_by(EnvAlias.namespace.is_(None))
    )
    return [*(await session.scalars(query)).all(), reference.identifier]


async def find_build(session: AsyncSession, template_id: str, reference: TemplateReference) -> EnvBuild | None:
    """The ready build that a reference means of the template that it names."""
    wanted = EnvBuildAssignment.tag == (reference.tag or DEFAULT_TAG)
    if reference.build_id is not None:
        wanted = or_(wanted, EnvBuildAssignment.build_id == reference.build_id)
    query = (
        select(EnvBuild)
        .join(EnvBuildAssignment, and_(EnvBuildAssignment.build_id == EnvBuild.id, EnvBuildAssignment.env_id == template_id))
        .where(wanted, EnvBuild.status_group == "ready")
        .order_by(EnvBuildAssignment.created_at.desc(), EnvBuildAssignment.build_id.desc())
        .limit(1)
    )
    return (await session.scalars(query)).first()
