"""Starting a sandbox that has been described: a place in the quota, a node, a route, a record."""

from __future__ import annotations

from sandbank.aiokit.tasks import finish
from sandbank.api.core.placement import SandboxPlacer
from sandbank.api.core.ports import Nodes, Reservations, Routes, Sandboxes
from sandbank.api.core.start import SandboxStart
from sandbank.api.core.team import Team
from sandbank.domain.errors import ExhaustedError
from sandbank.domain.sandbox import Sandbox


class SandboxLauncher:
    """Starts sandboxes, new ones and paused ones."""

    def __init__(
        self, sandboxes: Sandboxes, reservations: Reservations, nodes: Nodes, routes: Routes, *, shares_artifacts: bool = False
    ) -> None:
        self._sandboxes = sandboxes
        self._reservations = reservations
        self._nodes = nodes
        self._placer = SandboxPlacer(nodes, shares_artifacts=shares_artifacts)
        self._routes = routes

    async def launch(self, team: Team, start: SandboxStart) -> Sandbox:
        """A running sandbox that has a record. `ExhaustedError` without a place in the quota, and what `SandboxPlacer.place` raises.

        Failed or cancelled, nothing of it is left, or will be once the node is seen again.
        """
        if not await self._reservations.reserve(team.team_id, start.sandbox_id, team.concurrent_sandboxes):
            raise ExhaustedError(
                f"you have reached the maximum number of concurrent E2B sandboxes ({team.concurrent_sandboxes})."
                " If you need more, please visit 'https://e2b.dev/docs/billing'",
                should_retry=False,
            )
        try:
            sandbox = await self._placer.place(start)
            await self._publish(sandbox)
        except BaseException:
            await finish(self._reservations.release(team.team_id, start.sandbox_id))
            raise
        return sandbox

    async def _publish(self, sandbox: Sandbox) -> None:
        try:
            await self._routes.put(sandbox)
            await self._sandboxes.add(sandbox)
        except BaseException:
            self._nodes.abandon(sandbox.node_id, sandbox.sandbox_id, sandbox.execution_id)
            await finish(self._routes.remove(sandbox))
            raise
