"""What clients may read of a build: its state and its log (templates contract §1.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sandbank.api.core.build_log_store import BuildLogStore
from sandbank.api.core.builders import Builders, BuildLine, LinePage
from sandbank.api.core.logs import page_window
from sandbank.api.core.ports import Clock
from sandbank.api.core.team import Team
from sandbank.api.core.template_build import Build, BuildRecords, BuildState
from sandbank.domain.errors import DeniedError, InvalidError, SandbankError
from sandbank.domain.uuid_text import parse_uuid

MOST_LINES = 100
TEMPORARY, PERSISTENT = "temporary", "persistent"


@dataclass(frozen=True, slots=True)
class BuildStatus:
    """A build, and a page of its log."""

    build: Build
    lines: Sequence[BuildLine]


@dataclass(frozen=True, slots=True)
class LogQuestion:
    """What a client asks of a build's log; `source` is one of the two, or None for whichever has it."""

    cursor_ms: int | None = None
    limit: int = MOST_LINES
    newest_first: bool = False
    min_level: str | None = None
    source: str | None = None


class BuildReader:
    """Reads builds; `follow` notes what has become of one. The log is in the memory of the builder for a while, and in the log store."""

    def __init__(
        self, records: BuildRecords, builders: Builders, store: BuildLogStore, clock: Clock, follow: Callable[[Build], Awaitable[None]]
    ) -> None:
        self._records = records
        self._follow = follow
        self._builders = builders
        self._store = store
        self._clock = clock

    async def status(
        self, team: Team, template_id: str, build_id: str, *, offset: int = 0, limit: int = MOST_LINES, min_level: str | None = None
    ) -> BuildStatus:
        """The build with at most `limit` lines behind the first `offset` of that level; the same offset is always the same line.

        `InvalidError` for an unknown build, `DeniedError` for another team's. A log that cannot be read is empty: the state matters more.
        """
        build = await self._look(await self._get(team, template_id, build_id))
        if build.state is BuildState.WAITING or limit == 0:
            return BuildStatus(build, [])
        page = LinePage(offset=offset, limit=limit, min_level=min_level)
        try:
            return BuildStatus(build, await self._read(build, page, None))
        except SandbankError:
            return BuildStatus(build, [])

    async def logs(self, team: Team, template_id: str, build_id: str, question: LogQuestion) -> Sequence[BuildLine]:
        """Lines of the seven days before or behind the cursor. Errors as `status`, and `UnavailableError` for a log that cannot be read."""
        build = await self._get(team, template_id, build_id)
        start_ns, end_ns = page_window(self._clock(), question.cursor_ms, newest_first=question.newest_first)
        if build.state is BuildState.WAITING or question.limit == 0 or start_ns >= end_ns:
            return []
        page = LinePage(
            limit=question.limit, min_level=question.min_level, start_ns=start_ns, end_ns=end_ns, newest_first=question.newest_first
        )
        return await self._read(build, page, question.source)

    async def _get(self, team: Team, template_id: str, build_id: str) -> Build:
        key = parse_uuid(build_id)
        if key is None:
            raise InvalidError("Invalid build id")
        build = await self._records.find(str(key))
        if build is None or build.template_id != template_id:
            raise InvalidError(f"Build '{key}' not found")
        if build.team_id != team.team_id:
            raise DeniedError(f"You don't have access to this sandbox template ({template_id})")
        return build

    async def _look(self, build: Build) -> Build:
        """As it is now: whoever asks need not wait for the next round of those who follow all builds."""
        if build.state is not BuildState.BUILDING:
            return build
        try:
            await self._follow(build)
            return await self._records.find(build.build_id) or build
        except SandbankError:
            return build

    async def _read(self, build: Build, page: LinePage, source: str | None) -> Sequence[BuildLine]:
        if source != PERSISTENT and build.node_id is not None:
            try:
                return await self._builders.read(build.node_id, build.template_id, build.build_id, page)
            except SandbankError:
                pass  # it is over, or its node is away
        return [] if source == TEMPORARY else await self._store.read(build, page)
