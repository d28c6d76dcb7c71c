"""Ending a sandbox: unroutable first, then its node, then what was saved of it, then the record."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.access import get_own, not_found
from sandbank.api.core.ports import Clock, Nodes, NodeUnknownError, Routes, Sandboxes, SnapshotNodes, Snapshots, Transition
from sandbank.api.core.team import Team
from sandbank.domain.errors import InternalError, NotFoundError, SandbankError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState

_STALE_AFTER = timedelta(minutes=10)  # data-plane contract §10.3


class SandboxKiller:
    """Ends sandboxes. Whoever wants the same sandbox dead at the same time shares one attempt and its outcome."""

    def __init__(
        self,
        sandboxes: Sandboxes,
        snapshots: Snapshots,
        nodes: Nodes,
        keepers: SnapshotNodes,
        routes: Routes,
        clock: Clock,
        tasks: TaskGroup,
    ) -> None:
        self._sandboxes = sandboxes
        self._snapshots = snapshots
        self._nodes = nodes
        self._keepers = keepers
        self._routes = routes
        self._clock = clock
        self._tasks = tasks

    async def kill(self, team: Team, sandbox_id: str, reason: str = "request") -> None:
        """End the team's sandbox and forget what was saved of it; `NotFoundError` if it has none such.

        A cancelled caller does not stop it.
        """
        if await self._sandboxes.find(sandbox_id) is None:
            snapshot = await self._snapshots.find(sandbox_id)
            if snapshot is None or snapshot.sandbox.team_id != team.team_id:
                raise not_found(sandbox_id)
            if await self._kill_paused(sandbox_id):
                return
        await get_own(self._sandboxes, team, sandbox_id)
        transition = await self._sandboxes.begin(sandbox_id, SandboxState.KILLING)
        if transition is not None:
            await self.finish(transition, reason)
        elif await self._snapshots.find(sandbox_id) is None or not await self._kill_paused(sandbox_id):
            raise not_found(sandbox_id)

    async def kill_saved_before(self, sandbox_id: str, moment: datetime) -> Sandbox | None:
        """Forget a paused sandbox, unless it runs, is about to, or was saved again since `moment`. What is forgotten is returned."""
        async with self._sandboxes.lock(sandbox_id):
            # In this order: one that runs may be paused meanwhile, one that does not stays as it is.
            if await self._sandboxes.find(sandbox_id) is not None:
                return None
            snapshot = await self._snapshots.find(sandbox_id)
            if snapshot is None or not snapshot.is_ready or snapshot.sandbox.end_at >= moment:
                return None
            await self._forget(sandbox_id)
            return snapshot.sandbox

    async def finish(self, transition: Transition, reason: str, *, forgets: bool = True) -> None:
        """Do the work of a transition to `KILLING`, or wait for whoever does. What was saved earlier stays unless it `forgets`."""
        if not transition.owned:
            await transition.join()
            return
        await asyncio.shield(self._tasks.start("kill", self._work(transition, reason, forgets=forgets)))

    async def _kill_paused(self, sandbox_id: str) -> bool:
        """False if somebody has woken it; one who is about to is waited for."""
        async with self._sandboxes.lock(sandbox_id):
            if await self._sandboxes.find(sandbox_id) is not None:
                return False
            await self._forget(sandbox_id)
            return True

    async def _forget(self, sandbox_id: str) -> None:
        for node_id, build_id in await self._snapshots.delete(sandbox_id):
            self._keepers.discard(node_id, build_id)

    async def _work(self, transition: Transition, reason: str, *, forgets: bool) -> None:
        sandbox = transition.sandbox
        error: SandbankError | None = InternalError("Error killing sandbox: interrupted")
        try:
            await self._routes.remove(sandbox)
            await self._delete(sandbox, reason)
            if forgets:
                await self._forget(sandbox.sandbox_id)
            error = None
        except SandbankError as failure:
            error = InternalError(f"Error killing sandbox: {failure.message}")
            raise error from failure
        finally:
            await transition.complete(error)
            if error is not None and sandbox.end_at > self._clock():
                # It is condemned all the same: the evictor goes on trying.
                await self._sandboxes.set_end(sandbox.sandbox_id, sandbox.execution_id, self._clock())

    async def _delete(self, sandbox: Sandbox, reason: str) -> None:
        try:
            await self._nodes.delete(sandbox.node_id, sandbox.sandbox_id, sandbox.execution_id, reason)
        except NotFoundError:
            return  # it ended by itself a moment ago
        except NodeUnknownError:
            # Nodes end by themselves what outstays its end: this one did, or is gone with all it had.
            if self._clock() - sandbox.end_at < _STALE_AFTER:
                raise
