"""A driver whose sandboxes are entries in a dictionary: the verified twin of the real ones, see `driver_contract.py`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sandbank.aiokit.tasks import finish
from sandbank.artifacts.exchange import SNAPSHOT, Description, Exchange, Manifest
from sandbank.domain.errors import ConflictError, NotFoundError, SandbankError
from sandbank.runtime.driver import EgressPolicy, SandboxExit, SandboxSpec, SandboxStats, StartReport


@dataclass
class Kernel:
    """What outlives a driver: the sandboxes that run."""

    sandboxes: dict[str, SandboxSpec] = field(default_factory=dict)
    leftovers: set[str] = field(default_factory=set)
    snapshots: dict[str, SandboxSpec] = field(default_factory=dict)
    without_memory: set[str] = field(default_factory=set)
    shared: dict[str, SandboxSpec] = field(default_factory=dict)  # what other nodes' drivers have


class MemoryDriver:
    """Creates as fast as `gate` lets it; the sandbox's port 49983 answers, every other one refuses."""

    name = "memory"

    def __init__(self, kernel: Kernel | None = None) -> None:
        self.kernel = kernel or Kernel()
        self.gate = asyncio.Event()
        self.gate.set()
        self.creating = 0
        self.most_creating = 0
        self.killed: list[str] = []
        self.kill_failures = 0
        self.pauses = 0
        self.spares: list[SandboxSpec] = []
        self.pause_failure: SandbankError | None = None
        self._on_exit: Callable[[SandboxExit], None] | None = None
        self._agent: socket.socket | None = None

    async def start(self, on_exit: Callable[[SandboxExit], None]) -> StartReport:
        self._on_exit = on_exit
        self._agent = socket.create_server(("127.0.0.1", 0))
        reclaimed = tuple(sorted(self.kernel.leftovers))
        self.kernel.leftovers.clear()
        return StartReport(adopted=tuple(self.kernel.sandboxes), reclaimed=reclaimed)

    async def create(self, spec: SandboxSpec) -> None:
        if spec.sandbox_id in self.kernel.sandboxes:
            raise ConflictError(f"sandbox {spec.sandbox_id} exists")
        if spec.snapshot_id is not None:
            if spec.snapshot_id not in self.kernel.snapshots:
                raise ConflictError(f"sandbox files for '{spec.sandbox_id}' not found")
            spec = replace(spec, limits=self.kernel.snapshots[spec.snapshot_id].limits)
        self.kernel.leftovers.add(spec.sandbox_id)
        self.creating += 1
        self.most_creating = max(self.most_creating, self.creating)
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
            self.kernel.sandboxes[spec.sandbox_id] = spec
        finally:
            self.creating -= 1
            self.kernel.leftovers.discard(spec.sandbox_id)

    async def pause(self, sandbox_id: str, snapshot_id: str, *, memory: bool = True) -> None:
        if sandbox_id not in self.kernel.sandboxes:
            raise NotFoundError(f"sandbox {sandbox_id} not found")
        self.pauses += 1
        await self.gate.wait()
        if self.pause_failure is not None:
            raise self.pause_failure
        if sandbox_id not in self.kernel.sandboxes:
            raise NotFoundError(f"sandbox {sandbox_id} not found")
        self.kernel.snapshots[snapshot_id] = self.kernel.sandboxes.pop(sandbox_id)
        self._note(snapshot_id, memory)

    async def save_layer(self, sandbox_id: str, layer_id: str) -> tuple[Path, ...]:
        if sandbox_id not in self.kernel.sandboxes:
            raise NotFoundError(f"sandbox {sandbox_id} not found")
        return (*self.kernel.sandboxes[sandbox_id].layers, Path("/layers") / layer_id)

    async def make_spare(self, spec: SandboxSpec) -> bool:
        self.spares.append(spec)
        return True

    def count_spares(self, snapshot_id: str) -> int:
        return sum(spec.snapshot_id == snapshot_id for spec in self.spares)

    async def remove_spares(self, snapshot_id: str) -> None:
        self.spares = [spec for spec in self.spares if spec.snapshot_id != snapshot_id]

    async def checkpoint(self, sandbox_id: str, snapshot_id: str, *, memory: bool = True) -> None:
        if sandbox_id not in self.kernel.sandboxes:
            raise NotFoundError(f"sandbox {sandbox_id} not found")
        await self.gate.wait()
        if self.pause_failure is not None:
            raise self.pause_failure
        self.kernel.snapshots[snapshot_id] = self.kernel.sandboxes[sandbox_id]
        self._note(snapshot_id, memory)

    def _note(self, snapshot_id: str, memory: bool) -> None:
        if not memory:
            self.kernel.without_memory.add(snapshot_id)

    def has_snapshot(self, snapshot_id: str) -> bool:
        return snapshot_id in self.kernel.snapshots

    def snapshot_names(self) -> list[str]:
        return sorted(self.kernel.snapshots)

    async def describe_snapshot(self, snapshot_id: str) -> Description:
        if not self.has_snapshot(snapshot_id):
            raise ConflictError(f"there is no snapshot {snapshot_id}")
        return Description(SNAPSHOT, {"sandbox_id": self.kernel.snapshots[snapshot_id].sandbox_id}, ())

    async def place_snapshot(self, exchange: Exchange, manifest: Manifest) -> None:
        self.kernel.snapshots[manifest.build_id] = self.kernel.shared[manifest.build_id]

    def has_memory(self, snapshot_id: str) -> bool:
        return self.has_snapshot(snapshot_id) and snapshot_id not in self.kernel.without_memory

    async def remove_snapshot(self, snapshot_id: str) -> None:
        self.kernel.snapshots.pop(snapshot_id, None)

    async def kill(self, sandbox_id: str) -> None:
        if self.kill_failures:
            self.kill_failures -= 1
            raise OSError("the kernel says no")
        self.kernel.sandboxes.pop(sandbox_id, None)
        self.killed.append(sandbox_id)
        await finish(asyncio.sleep(0))

    def dial(self, sandbox_id: str, port: int) -> socket.socket:
        if sandbox_id not in self.kernel.sandboxes or self._agent is None:
            raise NotFoundError(f"sandbox {sandbox_id} not found")
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(self._agent.getsockname() if port == 49983 else ("127.0.0.1", 1))
        return connection

    def listen(self, sandbox_id: str, port: int) -> socket.socket:
        if sandbox_id not in self.kernel.sandboxes:
            raise NotFoundError(f"sandbox {sandbox_id} not found")
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        return listener

    async def set_egress(self, sandbox_id: str, policy: EgressPolicy) -> None:
        if sandbox_id not in self.kernel.sandboxes:
            raise NotFoundError(f"sandbox {sandbox_id} not found")
        self.kernel.sandboxes[sandbox_id] = replace(self.kernel.sandboxes[sandbox_id], egress=policy)

    async def stats(self, sandbox_id: str) -> SandboxStats:
        spec = self.kernel.sandboxes.get(sandbox_id)
        if spec is None:
            raise NotFoundError(f"sandbox {sandbox_id} not found")
        return SandboxStats(
            cpu_seconds=0.0,
            memory_bytes=0,
            memory_cache_bytes=0,
            memory_limit_bytes=spec.limits.memory_mib << 20,
            disk_bytes=0,
            disk_limit_bytes=spec.limits.disk_mib << 20,
            pids=1,
        )

    async def close(self) -> None:
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    def crash(self, sandbox_id: str, reason: str = "its agent ended") -> None:
        """Let a sandbox end by itself."""
        spec = self.kernel.sandboxes.pop(sandbox_id)
        assert self._on_exit is not None
        self._on_exit(SandboxExit(sandbox_id, spec.execution_id, reason, datetime.now(UTC)))
