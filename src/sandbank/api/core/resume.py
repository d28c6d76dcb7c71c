"""Bringing a paused sandbox back: on the node that saved it, under its own ID, once, however many ask for it at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.access import not_found
from sandbank.api.core.extend import SandboxExtender
from sandbank.api.core.launch import SandboxLauncher
from sandbank.api.core.paused import PausedSandboxes
from sandbank.api.core.ports import Sandboxes
from sandbank.api.core.team import Team
from sandbank.api.core.timeouts import require_within_plan
from sandbank.api.core.volumes import Volumes
from sandbank.domain.credentials import SandboxTokens
from sandbank.domain.errors import ConflictError, InvalidError, NotFoundError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState

_TRANSITION_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_ROUNDS = 3


class SandboxResumer:
    """Resumes sandboxes. Over all API processes one is at work on a sandbox at a time; the others find it running."""

    def __init__(
        self,
        *,
        sandboxes: Sandboxes,
        paused: PausedSandboxes,
        launcher: SandboxLauncher,
        extender: SandboxExtender,
        volumes: Volumes,
        tokens: SandboxTokens,
        tasks: TaskGroup,
    ) -> None:
        self._sandboxes = sandboxes
        self._paused = paused
        self._launcher = launcher
        self._extender = extender
        self._volumes = volumes
        self._tokens = tokens
        self._tasks = tasks

    async def resume(
        self, team: Team, sandbox_id: str, timeout_seconds: int, *, auto_pause: bool | None = None, memory: bool | None = None
    ) -> Sandbox:
        """The sandbox, running; `ConflictError` if it is already. `auto_pause` is remembered from here on.

        `NotFoundError`, `InvalidError` for the timeout, `ExhaustedError` (quota) and what `SandboxPlacer.place` raises: then it stays
        paused. A cancelled caller leaves it running until its timeout.
        """
        require_within_plan(team, timeout_seconds)
        for _ in range(_ROUNDS):
            sandbox = await self._sandboxes.find(sandbox_id)
            if sandbox is None:
                found, _ = await self.bring_back(team, sandbox_id, timeout_seconds, auto_pause=auto_pause, boots=memory is False)
                if found.state is SandboxState.RUNNING:
                    return found
            elif sandbox.team_id != team.team_id or sandbox.state is SandboxState.KILLING:
                raise not_found(sandbox_id)
            elif sandbox.state is SandboxState.SNAPSHOTTING:
                raise ConflictError(f"Sandbox snapshot is currently being created for sandbox '{sandbox_id}'")
            elif sandbox.state is SandboxState.RUNNING:
                raise ConflictError(f"Sandbox {sandbox_id} is already running")
            await self._pause_over(sandbox_id)
        raise _in_transition(sandbox_id)

    async def connect(self, team: Team, sandbox_id: str, timeout_seconds: int, *, memory: bool | None = None) -> tuple[Sandbox, bool]:
        """The sandbox, running for at least that long, and whether it was paused before. Raises what `resume` and `extend` do."""
        require_within_plan(team, timeout_seconds)
        for _ in range(_ROUNDS):
            if await self._sandboxes.find(sandbox_id) is None:
                found, is_new = await self.bring_back(team, sandbox_id, timeout_seconds, boots=memory is False)
                if is_new:
                    return found, True
            try:
                return await self._extender.connect(team, sandbox_id, timeout_seconds), False
            except (NotFoundError, ConflictError):
                current = await self._sandboxes.find(sandbox_id)
                if current is not None and (current.team_id != team.team_id or current.state is not SandboxState.PAUSING):
                    raise
            await self._pause_over(sandbox_id)
        raise _in_transition(sandbox_id)

    async def bring_back(
        self, team: Team, sandbox_id: str, timeout_seconds: int, *, auto_pause: bool | None = None, boots: bool = False
    ) -> tuple[Sandbox, bool]:
        """The sandbox and true, or its record and false where somebody was faster. If it `boots`, no memory of it is used."""
        work = self._bring_back(team, sandbox_id, timeout_seconds, auto_pause, boots)
        return await asyncio.shield(self._tasks.start("resume", work))

    async def _bring_back(
        self, team: Team, sandbox_id: str, timeout_seconds: int, auto_pause: bool | None, boots: bool
    ) -> tuple[Sandbox, bool]:
        async with self._sandboxes.lock(sandbox_id):
            current = await self._sandboxes.find(sandbox_id)
            if current is not None:
                if current.team_id != team.team_id:
                    raise not_found(sandbox_id)
                return current, False
            snapshot = await self._paused.get_own(team, sandbox_id)
            if timeout_seconds == 0:
                raise InvalidError("Timeout must be greater than 0")
            mounts, node_id = await self._volumes.mounts(team, snapshot.template(), snapshot.sandbox.volume_mounts)
            start = snapshot.start(team, self._tokens, mounts, timeout_seconds, auto_pause, node_id=node_id)
            return await self._launcher.launch(team, replace(start, boots=boots)), True

    async def _pause_over(self, sandbox_id: str) -> None:
        """Return when the sandbox is not being paused, or that takes too long."""
        deadline = asyncio.get_running_loop().time() + _TRANSITION_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            sandbox = await self._sandboxes.find(sandbox_id)
            if sandbox is None or sandbox.state is not SandboxState.PAUSING:
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _in_transition(sandbox_id: str) -> ConflictError:
    return ConflictError(f'Sandbox "{sandbox_id}" is being paused')
