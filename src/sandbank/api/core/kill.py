"""Ending a sandbox: unroutable first, then its node, then the record."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.access import get_own, not_found
from sandbank.api.core.ports import Clock, Nodes, NodeUnknownError, Routes, Sandboxes, Transition
from sandbank.api.core.team import Team
from sandbank.domain.errors import InternalError, NotFoundError, SandbankError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState

_STALE_AFTER = timedelta(minutes=10)  # data-plane contract §10.3


class SandboxKiller:
    """Ends sandboxes. Whoever wants the same sandbox dead at the same time shares one attempt and its outcome."""

    def __init__(self, sandboxes: Sandboxes, nodes: Nodes, routes: Routes, clock: Clock, tasks: TaskGroup) -> None:
        self._sandboxes = sandboxes
        self._nodes = nodes
        self._routes = routes
        self._clock = clock
        self._tasks = tasks

    async def kill(self, team: Team, sandbox_id: str, reason: str = "request") -> None:
        """End the team's sandbox; `NotFoundError` if it has none such. A cancelled caller does not stop it."""
        await get_own(self._sandboxes, team, sandbox_id)
        await self._end(await self._sandboxes.begin(sandbox_id, SandboxState.KILLING), sandbox_id, reason)

    async def expire(self, sandbox: Sandbox) -> None:
        """End a sandbox whose time has come, unless it was given more meanwhile."""
        async with self._sandboxes.lock(sandbox.sandbox_id):
            current = await self._sandboxes.find(sandbox.sandbox_id)
            if current is None or current.execution_id != sandbox.execution_id or current.end_at > self._clock():
                return
            transition = await self._sandboxes.begin(sandbox.sandbox_id, SandboxState.KILLING)
        if transition is not None:
            await self._end(transition, sandbox.sandbox_id, "timeout")

    async def _end(self, transition: Transition | None, sandbox_id: str, reason: str) -> None:
        if transition is None:
            raise not_found(sandbox_id)
        if not transition.owned:
            await transition.join()
            return
        await asyncio.shield(self._tasks.start("kill", self._work(transition, reason)))

    async def _work(self, transition: Transition, reason: str) -> None:
        sandbox = transition.sandbox
        error: SandbankError | None = InternalError("Error killing sandbox: interrupted")
        try:
            await self._routes.remove(sandbox)
            await self._delete(sandbox, reason)
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
            await self._nodes.delete(sandbox.node_id, sandbox.sandbox_id, reason)
        except NotFoundError:
            return  # it ended by itself a moment ago
        except NodeUnknownError:
            # Nodes end by themselves what outstays its end: this one did, or is gone with all it had.
            if self._clock() - sandbox.end_at < _STALE_AFTER:
                raise
