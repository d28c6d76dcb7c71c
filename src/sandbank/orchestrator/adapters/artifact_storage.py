"""What this node has, kept in object storage as well; what it lacks, from there."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.artifacts.builds import BuildStore, check_name
from sandbank.artifacts.exchange import SNAPSHOT, Exchange
from sandbank.artifacts.remote import Remote
from sandbank.artifacts.template_transfer import TemplateTransfer
from sandbank.artifacts.unreferenced import UnreferencedParts
from sandbank.domain.errors import SandbankError, UnavailableError
from sandbank.runtime.driver import Driver

_AT_ONCE = 2
_SETTLE_SECONDS = 2.0
# A build takes less than this to store, once it is begun; if not, it is stored again.
_SWEEP_SECONDS = 6 * 3600.0
_SHARE_SECONDS = 120.0  # how long somebody waits for storage that does not answer
_SOON_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0

_log = structlog.get_logger("sandbank.orchestrator")


class ArtifactStorage:
    """Implements `sandbank.orchestrator.core.ports.Artifacts`. What was not stored when it ended is when it starts again.

    Below `artifacts/stored` there is a directory for each storage, with an empty file for each build that is known to be there.
    """

    def __init__(
        self, remote: Remote, driver: Driver, builds: BuildStore, data_dir: Path, on_error: Callable[[str, BaseException], None]
    ) -> None:
        self._exchange = Exchange(remote)
        self._unreferenced = UnreferencedParts(self._exchange, remote)
        self._driver = driver
        self._builds = builds
        self._templates = TemplateTransfer(builds, data_dir)
        self._marks = data_dir / "artifacts" / "stored" / hashlib.sha256(remote.url.encode()).hexdigest()[:16]
        self._tasks = TaskGroup("artifacts", on_error)
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._fetching: dict[str, asyncio.Task[bool]] = {}

    def start(self) -> None:
        """Begin to store whatever this node has and storage may not."""
        self._marks.mkdir(parents=True, exist_ok=True, mode=0o700)
        stored = {path.name for path in self._marks.iterdir()}
        present = {*self._driver.snapshot_names(), *self._builds.list_ids()}
        for build_id in stored - present:
            self._mark(build_id).unlink(missing_ok=True)
        for build_id in sorted(present - stored):
            self.keep(build_id)
        for number in range(_AT_ONCE):
            self._tasks.start(f"store {number}", self._work())
        self._tasks.start("sweep", self._sweep())

    async def stop(self) -> None:
        """Give up what is under way: it is found again at the next start."""
        self._exchange.close()
        await self._tasks.close()

    def keep(self, build_id: str) -> None:
        """Store it soon, and again until that has worked. Not at once: a fork's save is gone in a moment."""
        asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._queue.put_nowait, build_id)

    async def share(self, build_id: str) -> None:
        """Store it now; other nodes can have it when this returns. `UnavailableError` when storage did not take it for two minutes.

        After that, or cancelled, it is stored soon all the same, if it is still here.
        """
        pause, began = _FIRST_PAUSE_SECONDS, time.monotonic()
        try:
            while True:
                try:
                    stored = await self._store_once(build_id)
                    break
                except SandbankError as error:
                    if time.monotonic() - began > _SHARE_SECONDS:
                        raise UnavailableError(f"it could not be stored where other nodes find it: {error.message}") from error
                await asyncio.sleep(pause)
                pause = min(2 * pause, _SHARE_SECONDS / 8)
        except BaseException:
            self.keep(build_id)
            raise
        self._mark(build_id).touch()
        _log.info("build stored", build_id=build_id, bytes=stored, seconds=round(time.monotonic() - began, 3))

    def forget(self, build_id: str) -> None:
        """Remove it from storage soon; this node has let go of it."""
        self._mark(build_id).unlink(missing_ok=True)
        self._tasks.start("forget", self._forget(build_id))

    async def list_snapshots(self) -> set[str]:
        """Those of which anything is in storage; `UnavailableError`."""
        return await asyncio.to_thread(self._exchange.list_snapshots)

    async def fetch(self, build_id: str) -> bool:
        """Have it on this node; False when storage has no such build. Whoever waits for the same one shares one attempt.

        Cancelled, that goes on: whoever asks again may find it done. Errors as `Exchange`'s.
        """
        pending = self._fetching.get(build_id)
        if pending is None:
            pending = self._fetching[build_id] = self._tasks.start("fetch", self._fetch(build_id))
            pending.add_done_callback(lambda _: self._fetching.pop(build_id, None))
        return await asyncio.shield(pending)

    async def fetch_soon(self, build_id: str) -> bool:
        """As `fetch`, of what somebody knows to be there: another node may still be about to store it."""
        for pause in _SOON_PAUSES:
            if await self.fetch(build_id):
                return True
            await asyncio.sleep(pause)
        return await self.fetch(build_id)

    async def _fetch(self, build_id: str) -> bool:
        began = time.monotonic()
        manifest = await asyncio.to_thread(self._exchange.find, build_id)
        if manifest is None:
            return False
        if manifest.kind == SNAPSHOT:
            await self._driver.place_snapshot(self._exchange, manifest)
        else:
            await asyncio.to_thread(self._templates.place, self._exchange, manifest)
        self._mark(build_id).touch()
        size = sum(archive.size for archive in manifest.parts.values())
        _log.info("build fetched", build_id=build_id, kind=manifest.kind, bytes=size, seconds=round(time.monotonic() - began, 3))
        return True

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                if removed := await asyncio.to_thread(self._unreferenced.sweep):
                    _log.info("parts that no build needs removed from storage", count=removed)
            except SandbankError as error:
                _log.warning("storage was not looked through", error=error.message)

    async def _work(self) -> None:
        while True:
            build_id = await self._queue.get()
            try:
                await self._store(build_id)
            except SandbankError as error:
                _log.error("a build cannot be stored", build_id=build_id, error=error.message)

    async def _store(self, build_id: str) -> None:
        pause, began = _FIRST_PAUSE_SECONDS, time.monotonic()
        while self._is_here(build_id):
            try:
                stored = await self._store_once(build_id)
            except SandbankError as error:
                if not self._is_here(build_id):
                    break
                _log.warning("build not stored yet", build_id=build_id, error=error.message)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            if self._is_here(build_id):
                self._mark(build_id).touch()
                _log.info("build stored", build_id=build_id, bytes=stored, seconds=round(time.monotonic() - began, 3))
                return
        # It was let go of meanwhile.
        await self._forget(build_id)

    async def _store_once(self, build_id: str) -> int:
        if self._driver.has_snapshot(build_id):
            description = await self._driver.describe_snapshot(build_id)
        else:
            build = self._builds.find(build_id)
            if build is None:
                return 0
            description = self._templates.describe(build)
        return await asyncio.to_thread(self._exchange.store, build_id, description)

    async def _forget(self, build_id: str) -> None:
        try:
            await asyncio.to_thread(self._exchange.remove, build_id)
        except SandbankError as error:
            _log.warning("build not removed from storage", build_id=build_id, error=error.message)

    def _is_here(self, build_id: str) -> bool:
        return self._driver.has_snapshot(build_id) or self._builds.find(build_id) is not None

    def _mark(self, build_id: str) -> Path:
        return self._marks / check_name(build_id)
