"""Keeping our records equal to what a node really runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sandbank.api.core.ports import Reservations, Residents, Routes
from sandbank.domain.errors import NotFoundError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node says it runs: executions by sandbox. `read` makes a record of one: of thousands listed few are read."""

    node_id: str
    executions: Mapping[str, str]
    read: Callable[[str], Sandbox]


class Fleet(Protocol):
    """The nodes by address, to be asked one by one."""

    def node_id(self, address: str) -> str | None:
        """The ID the node had when last asked."""

    async def report(self, address: str) -> NodeReport:
        """Ask the node; raises domain errors, after which it takes no new sandboxes until it answers again."""

    def is_abandoned(self, execution_id: str) -> bool:
        """Whether a start was given up without knowing its outcome."""

    async def delete(self, node_id: str, sandbox_id: str, execution_id: str, reason: str) -> None: ...


class NodeReconciler:
    """Compares one node with the records, pass by pass.

    Nodes own what runs on them: a sandbox that vanished there is forgotten, one that nobody knows is taken over, and one that runs as
    another execution on another node by now is ended. The latter two only when two passes in a row have seen it, since between a node's
    answer and our look at it a sandbox can have been killed, or moved.
    """

    def __init__(
        self,
        fleet: Fleet,
        residents: Residents,
        reservations: Reservations,
        routes: Routes,
        settle: Callable[[str], Awaitable[None]],
        on_event: Callable[[str, Sandbox], None],
    ) -> None:
        self._fleet = fleet
        self._residents = residents
        self._reservations = reservations
        self._routes = routes
        self._settle_save = settle  # a sandbox that ended may have been saved, unheard
        self._on_event = on_event
        self._unknown: dict[str, set[str]] = {}

    async def reconcile(self, address: str, *, adopt_at_once: bool = False) -> None:
        """One pass over one node; raises what asking it raises. At start, when nothing can be in flight, everything is taken over."""
        # Recorded before the question, so whatever of these is missing from the answer has ended.
        previous = self._fleet.node_id(address)
        known = [] if previous is None else await self._residents.list_node(previous)
        report = await self._fleet.report(address)
        for sandbox in known:
            if sandbox.state is SandboxState.RUNNING and report.executions.get(sandbox.sandbox_id) != sandbox.execution_id:
                await self._forget(sandbox)
        seen_before = self._unknown.get(address, set())
        unknown: set[str] = set()
        for sandbox_id in report.executions.keys() - {sandbox.sandbox_id for sandbox in known}:
            execution_id = report.executions[sandbox_id]
            found = await self._residents.find(sandbox_id)
            if found is not None:
                if found.node_id != report.node_id and found.execution_id != execution_id and found.state is SandboxState.RUNNING:
                    unknown.add(execution_id)
                    if execution_id in seen_before:
                        await self._end_older(report.read(sandbox_id))
            elif not await self._reservations.is_reserved(sandbox_id):
                unknown.add(execution_id)
                await self._settle(report.read(sandbox_id), adopt=adopt_at_once or execution_id in seen_before)
        self._unknown[address] = unknown

    async def lose(self, node_id: str) -> None:
        """The node is gone for good: what ran there has ended. Where it comes back all the same, its sandboxes are found again."""
        for sandbox in await self._residents.list_node(node_id):
            if sandbox.state is SandboxState.RUNNING:
                await self._forget(sandbox)

    async def _end_older(self, sandbox: Sandbox) -> None:
        try:
            await self._fleet.delete(sandbox.node_id, sandbox.sandbox_id, sandbox.execution_id, "orphaned")
        except NotFoundError:
            return
        self._on_event("older execution of a sandbox ended", sandbox)

    async def _forget(self, sandbox: Sandbox) -> None:
        if await self._residents.forget(sandbox.sandbox_id, sandbox.execution_id):
            await self._routes.remove(sandbox)
            self._on_event("sandbox ended by itself", sandbox)
            await self._settle_save(sandbox.sandbox_id)

    async def _settle(self, sandbox: Sandbox, *, adopt: bool) -> None:
        if self._fleet.is_abandoned(sandbox.execution_id):
            try:
                await self._fleet.delete(sandbox.node_id, sandbox.sandbox_id, sandbox.execution_id, "orphaned")
            except NotFoundError:
                return
            self._on_event("abandoned sandbox deleted", sandbox)
        elif adopt:
            await self._routes.put(sandbox)
            await self._residents.add(sandbox)
            self._on_event("sandbox adopted", sandbox)
