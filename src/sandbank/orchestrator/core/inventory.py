"""What this node has: sandboxes that run, that start, that end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sandbank.domain.errors import ConflictError, ExhaustedError, SandbankError
from sandbank.orchestrator.core.sandbox import RunningSandbox


@dataclass(slots=True)
class Start:
    """A sandbox being started. `doom`, once set, says why it must not come to life although its start is still going on."""

    execution_id: str
    vcpu: int
    memory_mib: int
    doom: str | None = None


@dataclass(slots=True)
class Inventory:
    """One entry per sandbox and stage. `running` is what is routable and listed; `ending` holds the tasks that remove the rest of one."""

    max_sandboxes: int
    running: dict[str, RunningSandbox] = field(default_factory=dict)
    starting: dict[str, Start] = field(default_factory=dict)
    ending: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    # With the build's ID and, in the end, what went wrong; they are still in `running`.
    pausing: dict[str, tuple[str, asyncio.Task[SandbankError | None]]] = field(default_factory=dict)

    def begin(self, sandbox_id: str, start: Start) -> None:
        """Take a place on the node. `ConflictError` when the ID is in use, `ExhaustedError` when the node is full."""
        if sandbox_id in self.running or sandbox_id in self.starting:
            raise ConflictError(f"sandbox '{sandbox_id}' already exists")
        if len(self.running) + len(self.starting) >= self.max_sandboxes:
            raise ExhaustedError(f"max number of running sandboxes on node reached ({self.max_sandboxes}), please retry")
        self.starting[sandbox_id] = start

    @property
    def allocated_vcpu(self) -> int:
        """Of all running and starting sandboxes."""
        return sum(s.vcpu for s in self.running.values()) + sum(s.vcpu for s in self.starting.values())

    @property
    def allocated_memory_mib(self) -> int:
        """Of all running and starting sandboxes."""
        return sum(s.memory_mib for s in self.running.values()) + sum(s.memory_mib for s in self.starting.values())

    @property
    def allocated_disk_mib(self) -> int:
        """Of all running sandboxes."""
        return sum(s.disk_mib for s in self.running.values())
