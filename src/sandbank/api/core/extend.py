"""Moving a sandbox's end: `timeout` sets it, `refreshes` and `connect` only ever postpone it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sandbank.api.core.access import get_extendable, not_found
from sandbank.api.core.ports import Clock, Nodes, Sandboxes
from sandbank.api.core.team import Team
from sandbank.api.core.timeouts import end_after, refreshed_end, require_within_plan
from sandbank.domain.errors import NotFoundError
from sandbank.domain.sandbox import Sandbox


class SandboxExtender:
    """Moves ends. The node hears of it before the caller has the answer, so the new end survives whatever happens to us."""

    def __init__(self, sandboxes: Sandboxes, nodes: Nodes, clock: Clock) -> None:
        self._sandboxes = sandboxes
        self._nodes = nodes
        self._clock = clock

    async def set_timeout(self, team: Team, sandbox_id: str, timeout_seconds: int) -> None:
        """End it `timeout_seconds` from now, which may be sooner than before; silently capped by the plan."""
        await self._move(team, sandbox_id, lambda sandbox, now: end_after(sandbox, now, timeout_seconds))

    async def refresh(self, team: Team, sandbox_id: str, duration_seconds: int) -> None:
        """Keep it at least `duration_seconds` from now."""
        await self._move(team, sandbox_id, lambda sandbox, now: refreshed_end(sandbox, now, duration_seconds))

    async def connect(self, team: Team, sandbox_id: str, timeout_seconds: int) -> Sandbox:
        """Keep it at least `timeout_seconds` from now and return it. A timeout beyond the plan is refused before anything else."""
        require_within_plan(team, timeout_seconds)
        return await self._move(team, sandbox_id, lambda sandbox, now: max(sandbox.end_at, end_after(sandbox, now, timeout_seconds)))

    async def _move(self, team: Team, sandbox_id: str, new_end: Callable[[Sandbox, datetime], datetime]) -> Sandbox:
        # Two moves at once must reach the node in the order in which they are recorded.
        async with self._sandboxes.lock(sandbox_id):
            sandbox = await get_extendable(self._sandboxes, team, sandbox_id)
            end_at = new_end(sandbox, self._clock())
            if end_at == sandbox.end_at:
                return sandbox
            try:
                await self._nodes.set_end(sandbox.node_id, sandbox_id, end_at)
            except NotFoundError as error:
                raise not_found(sandbox_id) from error
            if not await self._sandboxes.set_end(sandbox_id, sandbox.execution_id, end_at):
                raise not_found(sandbox_id)
            return replace(sandbox, end_at=end_at)
