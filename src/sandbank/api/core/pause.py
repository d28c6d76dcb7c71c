"""Pausing a sandbox, by request or at its end: unroutable first, then saved by its node, then without a record and a place in the quota."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import replace

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.access import not_found
from sandbank.api.core.loss import is_lost
from sandbank.api.core.paused import PausedSandboxes
from sandbank.api.core.ports import Residents, Routes, Sandboxes, SnapshotNodes, Snapshots, Transition
from sandbank.api.core.team import Team
from sandbank.domain.errors import ConflictError, InternalError, NotFoundError, SandbankError, UnavailableError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState


class SandboxPauser:
    """Pauses sandboxes. Whoever wants the same sandbox paused at the same time shares one attempt and its outcome."""

    def __init__(
        self,
        sandboxes: Sandboxes,
        residents: Residents,
        snapshots: Snapshots,
        paused: PausedSandboxes,
        nodes: SnapshotNodes,
        routes: Routes,
        tasks: TaskGroup,
    ) -> None:
        self._sandboxes = sandboxes
        self._residents = residents
        self._snapshots = snapshots
        self._paused = paused
        self._nodes = nodes
        self._routes = routes
        self._tasks = tasks

    async def pause(self, team: Team, sandbox_id: str, *, memory: bool = True) -> None:
        """Saved, and running no more, when it returns. A cancelled caller does not stop it. Without `memory` only its files are saved.

        `NotFoundError`; `ConflictError` if it is paused already or cannot be saved, with the reason; `UnavailableError` if its node cannot
        save it now. After either of the latter two it runs as before.
        """
        sandbox = await self._sandboxes.find(sandbox_id)
        if sandbox is None:
            await self._paused.get_own(team, sandbox_id)
            raise ConflictError(f"Error pausing sandbox - sandbox '{sandbox_id}' is already paused")
        if sandbox.team_id != team.team_id:
            raise not_found(sandbox_id)
        transition = await self._sandboxes.begin(sandbox_id, SandboxState.PAUSING)
        if transition is None:
            # It ran when this began: somebody else's pause, which is over, counts for both.
            await self._paused.get_own(team, sandbox_id)
            return
        await self.finish(transition, memory=memory)

    async def finish(self, transition: Transition, *, memory: bool) -> None:
        """Do the work of a transition to `PAUSING`, or wait for whoever does."""
        if not transition.owned:
            await transition.join()
            return
        await asyncio.shield(self._tasks.start("pause", self._work(transition, memory)))

    async def _work(self, transition: Transition, memory: bool) -> None:
        sandbox = transition.sandbox
        error: SandbankError | None = InternalError("Error pausing sandbox: interrupted")
        is_gone = False
        try:
            await self._save(replace(sandbox, has_memory=memory))
            error = None
        except SandbankError as failure:
            error = _answer(failure, sandbox.sandbox_id)
            is_gone = await is_lost(self._nodes, sandbox, failure)
            if not is_gone:
                with contextlib.suppress(SandbankError):  # traffic that finds no route has it put back
                    await self._routes.put(sandbox)
            raise error from failure
        finally:
            await transition.complete(error)
            if is_gone:
                await self._residents.forget(sandbox.sandbox_id, sandbox.execution_id)

    async def _save(self, sandbox: Sandbox) -> None:
        build_id = str(uuid.uuid4())
        try:
            env_id = await self._snapshots.begin(sandbox, build_id)
        except ConflictError as error:
            raise InternalError(error.message) from error  # of the database's, which no client is to take for "paused already"
        await self._routes.remove(sandbox)
        try:
            await self._nodes.pause(sandbox, env_id, build_id)
        except NotFoundError:
            await self._snapshots.finish(build_id, is_ready=False)
            # An earlier attempt may have succeeded without anybody hearing of it.
            snapshot = await self._paused.find(sandbox.sandbox_id)
            if snapshot is None or snapshot.build_id == sandbox.build_id:
                raise
            return
        except (ConflictError, InternalError):
            await self._snapshots.finish(build_id, is_ready=False)
            raise
        # After any other error the node may have it all the same: the build stays open until it is asked.
        await self._paused.keep(build_id)


def _answer(failure: SandbankError, sandbox_id: str) -> SandbankError:
    if isinstance(failure, NotFoundError):
        return not_found(sandbox_id)
    message = f"Error pausing sandbox: {failure.message}"
    if isinstance(failure, ConflictError):
        return ConflictError(message)
    if isinstance(failure, InternalError):
        return InternalError(message, should_retry=False)
    return UnavailableError(message)
