"""`SandboxStore` for a single process, rebuilt from the nodes at start."""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from sandbank.domain.errors import SandbankError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import TERMINAL, SandboxState, may_follow


class _Work:
    """One change of state in progress."""

    def __init__(self, sandbox: Sandbox, target: SandboxState) -> None:
        self.sandbox = sandbox
        self.target = target
        self.done = asyncio.Event()
        self.error: SandbankError | None = None


class _MemoryTransition:
    def __init__(self, store: MemorySandboxStore, work: _Work, *, owned: bool) -> None:
        self._store = store
        self._work = work
        self._owned = owned

    @property
    def sandbox(self) -> Sandbox:
        return self._work.sandbox

    @property
    def owned(self) -> bool:
        return self._owned

    async def complete(self, error: SandbankError | None = None) -> None:
        self._store._complete(self._work, error)

    async def join(self) -> None:
        await self._work.done.wait()
        if self._work.error is not None:
            raise self._work.error


class MemorySandboxStore:
    """The running sandboxes of a single process. Every change happens between two turns of the event loop, so none can be torn."""

    def __init__(self) -> None:
        self._sandboxes: dict[str, Sandbox] = {}
        self._teams: defaultdict[str, set[str]] = defaultdict(set)
        self._nodes: defaultdict[str, set[str]] = defaultdict(set)
        self._reserved: dict[str, str] = {}
        self._reservations: defaultdict[str, int] = defaultdict(int)
        self._work: dict[str, _Work] = {}
        # Entries are never searched for: one that no longer matches its record is dropped when it comes up.
        self._ends: list[tuple[datetime, str, str]] = []
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def reserve(self, team_id: str, sandbox_id: str, limit: int) -> bool:
        """See `SandboxStore.reserve`."""
        if len(self._teams[team_id]) + self._reservations[team_id] >= limit:
            return False
        self._reserved[sandbox_id] = team_id
        self._reservations[team_id] += 1
        return True

    async def release(self, team_id: str, sandbox_id: str) -> None:
        """See `SandboxStore.release`."""
        if self._reserved.get(sandbox_id) == team_id:
            del self._reserved[sandbox_id]
            self._reservations[team_id] -= 1

    async def add(self, sandbox: Sandbox) -> None:
        """See `SandboxStore.add`."""
        await self.release(sandbox.team_id, sandbox.sandbox_id)
        previous = self._sandboxes.get(sandbox.sandbox_id)
        if previous is not None:
            self._drop(previous)
        self._sandboxes[sandbox.sandbox_id] = sandbox
        self._teams[sandbox.team_id].add(sandbox.sandbox_id)
        self._nodes[sandbox.node_id].add(sandbox.sandbox_id)
        self._push(sandbox.end_at, sandbox)

    async def find(self, sandbox_id: str) -> Sandbox | None:
        """See `SandboxStore.find`."""
        return self._sandboxes.get(sandbox_id)

    async def list_team(self, team_id: str) -> Sequence[Sandbox]:
        """See `SandboxStore.list_team`."""
        return [self._sandboxes[sandbox_id] for sandbox_id in self._teams.get(team_id, ())]

    async def count_teams(self) -> Mapping[str, int]:
        """See `SandboxStore.count_teams`."""
        return {team_id: len(members) for team_id, members in self._teams.items() if members}

    async def list_node(self, node_id: str) -> Sequence[Sandbox]:
        """See `SandboxStore.list_node`."""
        return [self._sandboxes[sandbox_id] for sandbox_id in self._nodes.get(node_id, ())]

    async def is_reserved(self, sandbox_id: str) -> bool:
        """See `SandboxStore.is_reserved`."""
        return sandbox_id in self._reserved

    async def set_end(self, sandbox_id: str, execution_id: str, end_at: datetime) -> bool:
        """See `SandboxStore.set_end`."""
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.execution_id != execution_id or sandbox.state in TERMINAL:
            return False
        self._sandboxes[sandbox_id] = replace(sandbox, end_at=end_at)
        self._push(end_at, sandbox)
        return True

    async def update(self, sandbox_id: str, execution_id: str, change: Callable[[Sandbox], Sandbox]) -> Sandbox | None:
        """See `SandboxStore.update`."""
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.execution_id != execution_id or sandbox.state in TERMINAL:
            return None
        changed = self._sandboxes[sandbox_id] = change(sandbox)
        return changed

    async def begin(self, sandbox_id: str, target: SandboxState) -> _MemoryTransition | None:
        """See `SandboxStore.begin`."""
        while (sandbox := self._sandboxes.get(sandbox_id)) is not None:
            current = self._work.get(sandbox_id)
            if current is None and may_follow(sandbox.state, target):
                work = self._work[sandbox_id] = _Work(sandbox, target)
                self._sandboxes[sandbox_id] = replace(sandbox, state=target)
                return _MemoryTransition(self, work, owned=True)
            if current is None:
                raise AssertionError(f"sandbox {sandbox_id} is {sandbox.state} and nobody is at work on it")
            if current.target is target:
                return _MemoryTransition(self, current, owned=False)
            await current.done.wait()
        return None

    async def forget(self, sandbox_id: str, execution_id: str) -> bool:
        """See `SandboxStore.forget`."""
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.execution_id != execution_id or sandbox_id in self._work:
            return False
        self._drop(sandbox)
        return True

    async def expired(self, now: datetime, limit: int, retry_at: datetime) -> Sequence[Sandbox]:
        """See `SandboxStore.expired`."""
        seen: dict[str, Sandbox] = {}
        while self._ends and self._ends[0][0] <= now and len(seen) < limit:
            _, sandbox_id, execution_id = heapq.heappop(self._ends)
            sandbox = self._sandboxes.get(sandbox_id)
            if sandbox is None or sandbox.execution_id != execution_id or sandbox.end_at > now:
                continue  # gone, or extended: then a later entry stands for it
            seen[sandbox_id] = sandbox
        for sandbox in seen.values():
            self._push(retry_at, sandbox)
        return [sandbox for sandbox_id, sandbox in seen.items() if sandbox_id not in self._work]

    @asynccontextmanager
    async def lock(self, sandbox_id: str) -> AsyncIterator[None]:
        """See `SandboxStore.lock`."""
        lock, users = self._locks.get(sandbox_id, (asyncio.Lock(), 0))
        self._locks[sandbox_id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[sandbox_id]
            if users == 1:
                del self._locks[sandbox_id]
            else:
                self._locks[sandbox_id] = (lock, users - 1)

    def _push(self, at: datetime, sandbox: Sandbox) -> None:
        heapq.heappush(self._ends, (at, sandbox.sandbox_id, sandbox.execution_id))
        if len(self._ends) > 64 + 4 * len(self._sandboxes):
            # Clients that extend often leave an entry behind each time: rebuild once dead ones prevail. What is overdue keeps its
            # place at the front and is merely offered earlier than its retry.
            self._ends = [(s.end_at, s.sandbox_id, s.execution_id) for s in self._sandboxes.values()]
            heapq.heapify(self._ends)

    def _drop(self, sandbox: Sandbox) -> None:
        del self._sandboxes[sandbox.sandbox_id]
        for index, key in ((self._teams, sandbox.team_id), (self._nodes, sandbox.node_id)):
            members = index[key]
            members.discard(sandbox.sandbox_id)
            if not members:
                del index[key]

    def _complete(self, work: _Work, error: SandbankError | None) -> None:
        sandbox_id = work.sandbox.sandbox_id
        if self._work.get(sandbox_id) is not work:
            return
        del self._work[sandbox_id]
        work.error = error
        current = self._sandboxes[sandbox_id]
        if error is None and work.target in TERMINAL:
            self._drop(current)
        else:
            self._sandboxes[sandbox_id] = replace(current, state=SandboxState.RUNNING)
        work.done.set()
