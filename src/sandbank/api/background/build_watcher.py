"""Follows builds of templates from their start to their end, and ends those that nobody starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.template_build import Build
from sandbank.api.core.template_progress import BuildFollower
from sandbank.domain.errors import SandbankError

_PERIOD_SECONDS = 1.0


class BuildWatcher:
    """Looks once a second, whoever has started a build. One whose node is slow to answer holds up no other."""

    name = "build-watcher"

    def __init__(self, follower: BuildFollower, on_error: Callable[[str, BaseException], None]) -> None:
        self._follower = follower
        self._on_error = on_error
        self._tasks = TaskGroup("build-watcher", on_error)
        self._followed: set[str] = set()
        self._is_away = False

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except SandbankError as error:
                    if not self._is_away:  # say it once
                        self._is_away = True
                        self._on_error(self.name, error)
                else:
                    self._is_away = False
                await asyncio.sleep(_PERIOD_SECONDS)
        finally:
            await self._tasks.close()

    async def look(self) -> None:
        """Begin to look at each build that is not being looked at."""
        for build in await self._follower.unfinished():
            if build.build_id not in self._followed:
                self._followed.add(build.build_id)
                self._tasks.start("follow", self._follow(build))

    async def _follow(self, build: Build) -> None:
        try:
            await self._follower.follow(build)
        finally:
            self._followed.discard(build.build_id)
