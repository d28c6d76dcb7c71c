"""Following builds until they end (templates contract §1.5). Several APIs may do so at once: the row's state decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sandbank.api.core.builders import Builders
from sandbank.api.core.ports import Clock
from sandbank.api.core.template_build import Build, BuildReason, BuildRecords, BuildState
from sandbank.domain.errors import DeadlineError, SandbankError, UnavailableError

_MOST_WAITING = timedelta(minutes=40)
_MOST_BUILDING = timedelta(hours=1)
# Between taking a build and hearing that its node has it. Whoever took longer has ended.
_MOST_STARTING = timedelta(minutes=2)
# A node that restarts is back within that.
_MOST_SILENT = timedelta(seconds=60)

_WAITED = BuildReason("build is in waiting state for too long")
_TIMED_OUT = BuildReason("build status polling timed out. Maximum build time is 1h0m0s.")
_INTERRUPTED = BuildReason("error when building env: the start was interrupted")
_UNEXPLAINED = BuildReason("An internal error occurred. Please try again or contact support with the build ID.")


class BuildFollower:
    """Looks at builds once each; `on_ready` hears that a template has become another."""

    def __init__(self, records: BuildRecords, builders: Builders, clock: Clock, on_ready: Callable[[], None]) -> None:
        self._records = records
        self._builders = builders
        self._clock = clock
        self._on_ready = on_ready
        self._silent_since: dict[str, datetime] = {}

    async def unfinished(self) -> Sequence[Build]:
        """What there is to follow."""
        builds = await self._records.list_unfinished()
        known = {build.build_id for build in builds}
        self._silent_since = {build_id: since for build_id, since in self._silent_since.items() if build_id in known}
        return builds

    async def follow(self, build: Build) -> None:
        """Note what has become of it. Raises what the database does; then nothing is noted."""
        now = self._clock()
        if build.state is BuildState.WAITING:
            if build.is_startable and now - build.created_at > _MOST_WAITING:
                await self._records.fail(build.build_id, _WAITED)
            elif not build.is_startable and now - build.started_at > _MOST_STARTING:
                await self._give_up(build, _INTERRUPTED)
        elif now - build.started_at > _MOST_BUILDING:
            await self._give_up(build, _TIMED_OUT)
        else:
            await self._ask(build, now)

    async def _ask(self, build: Build, now: datetime) -> None:
        try:
            progress = await self._builders.look(build.node_id or "", build.template_id, build.build_id)
        except (UnavailableError, DeadlineError) as error:
            if now - self._silent_since.setdefault(build.build_id, now) > _MOST_SILENT:
                await self._give_up(build, _broken(error))
            return
        except SandbankError as error:
            await self._give_up(build, _broken(error))
            return
        self._silent_since.pop(build.build_id, None)
        if progress.state is BuildState.READY and progress.result is not None:
            if await self._records.finish(build.build_id, progress.result):
                self._on_ready()
        elif progress.state is not BuildState.BUILDING:
            await self._records.fail(build.build_id, progress.reason or _UNEXPLAINED)

    async def _give_up(self, build: Build, reason: BuildReason) -> None:
        if await self._records.fail(build.build_id, reason) and build.node_id is not None:
            self._builders.discard(build.node_id, build.template_id, build.build_id)


class BuildCanceller:
    """Operators' hold on a team's builds (rest-api contract §17)."""

    def __init__(self, records: BuildRecords, builders: Builders) -> None:
        self._records = records
        self._builders = builders

    async def cancel_all(self, team_id: str) -> tuple[int, int]:
        """How many were cancelled and how many could not be; what ended by itself meanwhile is neither."""
        cancelled = failed = 0
        for build in await self._records.list_unfinished(team_id):
            try:
                if await self._records.fail(build.build_id, BuildReason("cancelled by admin")):
                    cancelled += 1
                    if build.node_id is not None:
                        self._builders.discard(build.node_id, build.template_id, build.build_id)
            except SandbankError:
                failed += 1
        return cancelled, failed


def _broken(error: SandbankError) -> BuildReason:
    return BuildReason(f"polling received unrecoverable error: {error.message}")
