"""What becomes of a sandbox at its end: paused where that was asked for at create, else killed (REST contract §11)."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from sandbank.api.core.kill import SandboxKiller
from sandbank.api.core.pause import SandboxPauser
from sandbank.api.core.ports import Clock, Nodes, Sandboxes
from sandbank.domain.errors import SandbankError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState

_RETRY = timedelta(seconds=30)
_LAST_CHANCE = timedelta(minutes=10)


class SandboxExpirer:
    """Ends what is due. A sandbox that cannot be paused now runs half a minute longer, up to ten minutes beyond its team's plan."""

    def __init__(self, sandboxes: Sandboxes, nodes: Nodes, killer: SandboxKiller, pauser: SandboxPauser, clock: Clock) -> None:
        self._sandboxes = sandboxes
        self._nodes = nodes
        self._killer = killer
        self._pauser = pauser
        self._clock = clock

    async def expire(self, sandbox: Sandbox) -> None:
        """End a sandbox whose time has come, unless it was given more meanwhile."""
        async with self._sandboxes.lock(sandbox.sandbox_id):
            current = await self._sandboxes.find(sandbox.sandbox_id)
            if current is None or current.execution_id != sandbox.execution_id or current.end_at > self._clock():
                return
            # One found `PAUSING` was left so by somebody who died.
            saves = current.auto_pause or current.state is SandboxState.PAUSING
            is_late = self._clock() > current.latest_end_at + _LAST_CHANCE
            target = SandboxState.PAUSING if saves and not is_late else SandboxState.KILLING
            transition = await self._sandboxes.begin(sandbox.sandbox_id, target)
        if transition is None:
            return
        if target is SandboxState.KILLING:
            await self._killer.finish(transition, "timeout", forgets=not saves)
            return
        try:
            await self._pauser.finish(transition, memory=current.auto_pause_memory)
        except SandbankError:
            await self._postpone(current)
            raise

    async def _postpone(self, sandbox: Sandbox) -> None:
        # Of a pause that somebody left behind the old end is not known: it was moved to when that began.
        more = _RETRY if sandbox.auto_pause else max(_RETRY, timedelta(seconds=sandbox.requested_timeout_seconds))
        end_at = self._clock() + more
        with contextlib.suppress(SandbankError):
            await self._nodes.set_end(sandbox.node_id, sandbox.sandbox_id, end_at)
        await self._sandboxes.set_end(sandbox.sandbox_id, sandbox.execution_id, end_at)
