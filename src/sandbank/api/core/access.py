"""Finding the sandbox that a caller means: another team's does not exist for them (REST contract §8.0)."""

from __future__ import annotations

from sandbank.api.core.ports import Sandboxes
from sandbank.api.core.team import Team
from sandbank.domain.errors import ConflictError, NotFoundError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState


def not_found(sandbox_id: str) -> NotFoundError:
    """The one answer to a sandbox that is not there, is ending, or belongs to others. Clients and tests look at its words."""
    return NotFoundError(f"Sandbox \"{sandbox_id}\" doesn't exist or you don't have access to it")


async def get_own(sandboxes: Sandboxes, team: Team, sandbox_id: str) -> Sandbox:
    """The team's sandbox in whatever state, or `NotFoundError`."""
    sandbox = await sandboxes.find(sandbox_id)
    if sandbox is None or sandbox.team_id != team.team_id:
        raise not_found(sandbox_id)
    return sandbox


async def get_extendable(sandboxes: Sandboxes, team: Team, sandbox_id: str) -> Sandbox:
    """The team's sandbox if its end can be moved; `ConflictError` while it is ending."""
    sandbox = await get_own(sandboxes, team, sandbox_id)
    if sandbox.state is SandboxState.KILLING:
        raise ConflictError(f'Sandbox "{sandbox_id}" is being killed')
    if sandbox.state is SandboxState.PAUSING:
        raise ConflictError(f'Sandbox "{sandbox_id}" is being paused')
    return sandbox
