"""Stand-ins for what builds need: rows, nodes that build, a log store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from sandbank.api.core.builders import BuildLine, BuildProgress, LinePage, NoBuilderError, UploadLink, UploadOffer
from sandbank.api.core.team import Team
from sandbank.api.core.template_build import (
    Build,
    BuildClaim,
    BuilderMachine,
    BuildReason,
    BuildRequest,
    BuildResult,
    BuildState,
    RequestedBuild,
)
from sandbank.api.core.template_recipe import BuildOrder
from sandbank.domain.errors import NotFoundError, SandbankError
from sandbank.domain.log_query import LogEntry, LogQuery
from tests.unit.api.fakes import FakeClock
from tests.unit.api.made import TEAM


class FakeBuilds:
    """Rows in memory, by the rules of `BuildRecords`."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.builds: dict[str, Build] = {}
        self.documents: dict[str, object] = {}
        self.claimed: set[str] = set()
        self.requests: list[BuildRequest] = []

    async def register(self, team: Team, request: BuildRequest) -> RequestedBuild:
        self.requests.append(request)
        now, build_id = self.clock(), f"00000000-0000-4000-8000-{len(self.builds):012}"
        template_id = request.template_id or "tpl1"
        self.builds[build_id] = Build(
            build_id,
            template_id,
            team.team_id,
            BuildState.WAITING,
            is_startable=True,
            vcpu=request.vcpu,
            ram_mb=request.ram_mb,
            free_disk_mb=request.free_disk_mb,
            version=request.version,
            created_at=now,
            started_at=now,
        )
        return RequestedBuild(template_id, build_id, False, [], [], request.tags, now, now)

    async def find(self, build_id: str) -> Build | None:
        return self.builds.get(build_id)

    async def claim(self, build_id: str, claim: BuildClaim) -> Sequence[Build] | None:
        if not self.builds[build_id].is_startable:
            return None
        self.documents[build_id] = claim.recipe
        self._change(build_id, is_startable=False, node_id=claim.builder.node_id, start_cmd=claim.start_cmd, ready_cmd=claim.ready_cmd)
        return []

    async def accept(self, build_id: str) -> bool:
        return self._end(build_id, BuildState.WAITING, state=BuildState.BUILDING)

    async def fail(self, build_id: str, reason: BuildReason) -> bool:
        if self.builds[build_id].state in (BuildState.READY, BuildState.ERROR):
            return False
        self._change(build_id, state=BuildState.ERROR, is_startable=False, reason=reason)
        return True

    async def finish(self, build_id: str, result: BuildResult) -> bool:
        return self._end(build_id, BuildState.BUILDING, state=BuildState.READY)

    async def list_unfinished(self, team_id: str | None = None) -> Sequence[Build]:
        return [build for build in self.builds.values() if build.state in (BuildState.WAITING, BuildState.BUILDING)]

    async def ensure(self, alias: str, description: str) -> tuple[str, str]:
        return f"tpl-{alias}", TEAM.team_id

    async def newest(self, template_id: str) -> tuple[Build, object] | None:
        of_it = [build for build in self.builds.values() if build.template_id == template_id]
        return (of_it[-1], self.documents.get(of_it[-1].build_id)) if of_it else None

    def _end(self, build_id: str, before: BuildState, **changes: object) -> bool:
        if self.builds[build_id].state is not before:
            return False
        self._change(build_id, **changes)
        return True

    def _change(self, build_id: str, **changes: object) -> None:
        self.builds[build_id] = replace(self.builds[build_id], started_at=self.clock(), **changes)  # type: ignore[arg-type]


class FakeBuilders:
    """One node that builds what it is told, in name only."""

    def __init__(self) -> None:
        self.orders: dict[str, BuildOrder] = {}
        self.progress: dict[str, BuildProgress] = {}
        self.lines: dict[str, list[BuildLine]] = {}
        self.discarded: list[str] = []
        self.files: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.error: SandbankError | None = None
        self.is_there = True

    def choose(self, team_id: str) -> BuilderMachine:
        if not self.is_there:
            raise NoBuilderError
        return BuilderMachine("n1")

    async def offer_upload(self, node_id: str, template_id: str, team_id: str, files_hash: str) -> UploadOffer:
        return UploadOffer(files_hash in self.files, f"/upload?path={files_hash}&expires=1&token=t")

    async def upload(self, link: UploadLink, size_bytes: int, content: AsyncIterator[bytes]) -> None:
        self.uploads.append(link.path)
        self.files[link.path] = b"".join([piece async for piece in content])
        assert len(self.files[link.path]) == size_bytes

    async def start(self, node_id: str, order: BuildOrder) -> None:
        if self.error is not None:
            raise self.error
        self.orders[order.build_id] = order
        self.progress[order.build_id] = BuildProgress(BuildState.BUILDING)

    async def look(self, node_id: str, template_id: str, build_id: str) -> BuildProgress:
        if self.error is not None:
            raise self.error
        if build_id not in self.progress:
            raise NotFoundError("it is not known")
        return self.progress[build_id]

    async def read(self, node_id: str, template_id: str, build_id: str, page: LinePage) -> Sequence[BuildLine]:
        if build_id not in self.lines:
            raise NotFoundError("it is not known")
        return self.lines[build_id][page.offset : page.offset + page.limit]

    def discard(self, node_id: str, template_id: str, build_id: str) -> None:
        self.discarded.append(build_id)


class FakeLogStore:
    """Lines in order, at most `most` in one answer."""

    def __init__(self, entries: Sequence[LogEntry], most: int = 1000) -> None:
        self.entries = entries
        self.most = most
        self.queries: list[LogQuery] = []

    async def find(self, query: LogQuery) -> Sequence[LogEntry]:
        self.queries.append(query)
        found = [entry for entry in self.entries if query.start_ns <= entry.timestamp_ns < query.end_ns]
        return (found[::-1] if query.newest_first else found)[: min(query.limit, self.most)]
