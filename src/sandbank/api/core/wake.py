"""Traffic for a sandbox that the catalog does not know (data-plane contract §7.4): where it runs, or why it does not."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from sandbank.api.core.paused import PausedSandboxes
from sandbank.api.core.ports import Accounts, Routes, Sandboxes
from sandbank.api.core.resume import SandboxResumer
from sandbank.api.core.team import Team
from sandbank.domain.errors import ConflictError, DeniedError, NotFoundError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState

_AGENT_PORT = 49983
_TRANSITION_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_SHORTEST_SECONDS = 300
_BETWEEN_STATES = (SandboxState.PAUSING, SandboxState.SNAPSHOTTING)


@dataclass(frozen=True, slots=True)
class WakeRequest:
    """What is known of the traffic: the port it is for and the tokens it carries, empty where it has none."""

    sandbox_id: str
    port: int
    traffic_token: str = ""
    agent_token: str = ""


def require_credentials(sandbox: Sandbox, request: WakeRequest) -> None:
    """`DeniedError` unless the traffic has the token that its port asks for."""
    expected = sandbox.envd_access_token if request.port == _AGENT_PORT else sandbox.traffic_access_token
    given = request.agent_token if request.port == _AGENT_PORT else request.traffic_token
    if expected is not None and not hmac.compare_digest(expected.encode(), given.encode()):
        raise DeniedError("permission denied")


class SandboxWaker:
    """Answers a client proxy. `host_of` says at which address a node's sandbox proxy listens."""

    def __init__(
        self,
        sandboxes: Sandboxes,
        paused: PausedSandboxes,
        resumer: SandboxResumer,
        accounts: Accounts,
        routes: Routes,
        host_of: Callable[[str], str],
        *,
        transition_seconds: float = _TRANSITION_SECONDS,
    ) -> None:
        self._sandboxes = sandboxes
        self._paused = paused
        self._resumer = resumer
        self._accounts = accounts
        self._routes = routes
        self._host_of = host_of
        self._transition_seconds = transition_seconds

    async def wake(self, request: WakeRequest) -> str:
        """The address of the sandbox's node, where it runs when this returns; the catalog knows it again.

        `NotFoundError` without such a sandbox or if traffic is not to wake it, `DeniedError` for a blocked team or a wrong token,
        `ExhaustedError` (quota), what else resuming raises, `ConflictError` when the sandbox is still between two states after a minute.
        A sandbox that runs is not asked for tokens here: its node's proxy and its agent do that, and both have answers for those who
        carry none.
        """
        deadline = asyncio.get_running_loop().time() + self._transition_seconds
        while True:
            sandbox = await self._sandboxes.find(request.sandbox_id)
            if sandbox is not None and sandbox.state is SandboxState.KILLING:
                raise NotFoundError("sandbox not found")
            if sandbox is None:
                sandbox, is_new = await self._resume(request)
                if is_new:
                    return self._host_of(sandbox.node_id)
                continue
            await self._require_allowed(sandbox)
            if sandbox.state not in _BETWEEN_STATES:
                return await self._publish(sandbox)
            require_credentials(sandbox, request)  # strangers do not get to wait
            if asyncio.get_running_loop().time() >= deadline:
                raise ConflictError("sandbox is still transitioning")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _resume(self, request: WakeRequest) -> tuple[Sandbox, bool]:
        snapshot = await self._paused.find(request.sandbox_id)
        if snapshot is None:
            raise NotFoundError("sandbox not found")
        sandbox = snapshot.sandbox
        if not sandbox.auto_resume:
            raise NotFoundError("sandbox auto-resume disabled")
        if not sandbox.has_memory:  # contract data-plane §7.3
            raise ConflictError("filesystem-only snapshot must be resumed explicitly")
        team = await self._require_allowed(sandbox)
        require_credentials(sandbox, request)
        timeout_seconds = min(max(sandbox.requested_timeout_seconds, _SHORTEST_SECONDS), team.max_length_hours * 3600)
        return await self._resumer.bring_back(team, sandbox.sandbox_id, timeout_seconds)

    async def _require_allowed(self, sandbox: Sandbox) -> Team:
        team = await self._accounts.find_team(sandbox.team_id)
        if team is None or team.is_banned or team.is_blocked:
            raise DeniedError("team is blocked")
        return team

    async def _publish(self, sandbox: Sandbox) -> str:
        address = self._host_of(sandbox.node_id)
        await self._routes.put(sandbox)
        current = await self._sandboxes.find(sandbox.sandbox_id)
        if current is None or current.execution_id != sandbox.execution_id or current.state is SandboxState.KILLING:
            # A kill removes the route before anything else, and may have done so just before we put it back.
            await self._routes.remove(sandbox)
            raise NotFoundError("sandbox not found")
        return address
