"""What operators ask of the whole installation (rest-api contract §17)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sandbank.api.core.kill import SandboxKiller
from sandbank.api.core.team import Team
from sandbank.domain.errors import NotFoundError, SandbankError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState, public_state

_KILLS_AT_ONCE = 32
_COUNTS_KEPT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NodeDisk:
    """A file system that sandboxes are written to."""

    mount_point: str
    device: str
    filesystem_type: str
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as it described itself when it last answered. `status` is the API's word: ready, draining, connecting, unhealthy, standby."""

    node_id: str
    instance_id: str
    version: str
    commit: str
    status: str
    status_changed_at: datetime
    cpu_family: str
    cpu_model: str
    cpu_model_name: str
    cpu_architecture: str
    sandbox_count: int
    starting_count: int
    allocated_cpu: int
    cpu_percent: int
    cpu_count: int
    allocated_memory_bytes: int
    memory_used_bytes: int
    memory_total_bytes: int
    disks: tuple[NodeDisk, ...]
    create_successes: int
    create_fails: int


class NodeDirectory(Protocol):
    """The nodes that this API has seen."""

    def states(self) -> Sequence[NodeState]: ...

    async def set_status(self, node_id: str, status: str) -> None:
        """Tell a node how to be; it is so when this returns. `ConflictError` for what it cannot become from what it is."""


class NodeSandboxes(Protocol):
    """The records by node."""

    async def list_node(self, node_id: str) -> Sequence[Sandbox]: ...


class TeamSandboxes(Protocol):
    """The records by team."""

    async def list_team(self, team_id: str) -> Sequence[Sandbox]: ...


@dataclass(frozen=True, slots=True)
class KillCount:
    """What came of killing all of a team's sandboxes."""

    killed: int
    failed: int


class NodeAdministration:
    """Nodes, and what runs on all of them."""

    def __init__(self, directory: NodeDirectory, sandboxes: NodeSandboxes, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._sandboxes = sandboxes
        self._clock = clock
        self._counts: tuple[float, Mapping[str, int]] | None = None

    def nodes(self) -> Sequence[NodeState]:
        """All, by ID."""
        return sorted(self._directory.states(), key=lambda node: node.node_id)

    def node(self, node_id: str) -> NodeState:
        """One; `NotFoundError` if it has never answered."""
        for node in self._directory.states():
            if node.node_id == node_id:
                return node
        raise NotFoundError(f"node '{node_id}' not found")

    async def set_status(self, node_id: str, status: str) -> None:
        """See `NodeDirectory.set_status`; `NotFoundError` for an unknown node."""
        await self._directory.set_status(self.node(node_id).node_id, status)

    async def running_counts(self) -> Mapping[str, int]:
        """How many sandboxes run, by team; teams without any are not there. Up to five seconds old."""
        if self._counts is None or self._clock() - self._counts[0] > _COUNTS_KEPT_SECONDS:
            counts: Counter[str] = Counter()
            for node in self._directory.states():
                for sandbox in await self._sandboxes.list_node(node.node_id):
                    counts[sandbox.team_id] += public_state(sandbox.state) == "running"
            self._counts = (self._clock(), {team_id: count for team_id, count in counts.items() if count > 0})
        return self._counts[1]


class TeamAdministration:
    """Operators' hold on a team."""

    def __init__(self, sandboxes: TeamSandboxes, killer: SandboxKiller) -> None:
        self._sandboxes = sandboxes
        self._killer = killer

    async def kill_sandboxes(self, team: Team) -> KillCount:
        """End whatever runs for a team. One that ends meanwhile by itself or by another's request counts as killed by whoever did it."""
        gate = asyncio.Semaphore(_KILLS_AT_ONCE)

        async def kill(sandbox: Sandbox) -> bool | None:
            async with gate:
                try:
                    await self._killer.kill(team, sandbox.sandbox_id, reason="admin")
                except NotFoundError:
                    return None
                except SandbankError:
                    return False
                return True

        running = [sandbox for sandbox in await self._sandboxes.list_team(team.team_id) if sandbox.state is not SandboxState.KILLING]
        outcomes = await asyncio.gather(*(kill(sandbox) for sandbox in running))
        return KillCount(outcomes.count(True), outcomes.count(False))
