"""The nodes over gRPC: who is healthy, what each carries, and the calls to them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.node_messages import create_request, egress_update, read_running, read_started, to_timestamp
from sandbank.api.adapters.node_states import STATUS_TO_WIRE, read_state
from sandbank.api.core.administration import NodeState
from sandbank.api.core.egress import EgressWish
from sandbank.api.core.ports import NodeLoad, NodeUnknownError
from sandbank.api.core.reconcile import NodeReport
from sandbank.api.core.start import SandboxStart, Started
from sandbank.contracts.info import ServiceInfoResponse, ServiceInfoRole, ServiceInfoStatus
from sandbank.contracts.orchestrator import SandboxCheckpointRequest, SandboxDeleteRequest, SandboxPauseRequest, SandboxUpdateRequest
from sandbank.domain.errors import ConflictError, ExhaustedError, NotFoundError, SandbankError
from sandbank.domain.sandbox import Sandbox
from sandbank.rpc.orchestrator import OrchestratorClient

_ABANDONED_KEPT = timedelta(hours=25)  # no sandbox outlives the longest timeout
_ABANDON_TRIES = 3
_ABANDON_PAUSE_SECONDS = 0.5


class _Node:
    def __init__(self, address: str) -> None:
        self.address = address
        self.host = address.rpartition(":")[0]
        self.client = OrchestratorClient(address)
        self.node_id: str | None = None
        self.answers = False
        self.healthy = False  # and with it takes new sandboxes
        self.named = True  # or nobody says any more that it is one: what runs on it is looked after, nothing new is put there
        self.info = ServiceInfoResponse()
        self.starting_vcpu = 0
        self.starting = self.successes = self.fails = 0
        self.silent_since: datetime | None = None
        # Placed since the node last told its load.
        self.placed_vcpu = 0

    def load(self) -> NodeLoad:
        assert self.node_id is not None
        return NodeLoad(
            node_id=self.node_id,
            cpu_count=self.info.metric_cpu_count,
            allocated_vcpu=self.info.metric_cpu_allocated + self.placed_vcpu,
            starting_vcpu=self.starting_vcpu,
            cpu_percent=self.info.metric_cpu_percent,
        )


class NodePool:
    """All nodes that this API knows, by the addresses it was told. IDs come from the nodes themselves, when first asked."""

    def __init__(self, tasks: TaskGroup, *, shares_artifacts: bool = False) -> None:
        self._nodes: dict[str, _Node] = {}
        self._by_id: dict[str, _Node] = {}
        self._abandoned: dict[str, datetime] = {}
        self._tasks = tasks
        self._shares_artifacts = shares_artifacts

    def add(self, address: str) -> None:
        """See `sandbank.api.background.node_watcher.KnownNodes.add`."""
        self._nodes.setdefault(address, _Node(address)).named = True

    def retire(self, address: str) -> None:
        """See `sandbank.api.background.node_watcher.KnownNodes.retire`."""
        self._nodes[address].named = False

    async def drop(self, address: str) -> str | None:
        """See `sandbank.api.background.node_watcher.KnownNodes.drop`."""
        node = self._nodes.pop(address)
        await node.client.close()
        if node.node_id is None or self._by_id.get(node.node_id) is not node:
            return None
        del self._by_id[node.node_id]
        return node.node_id

    def candidates(self) -> Sequence[NodeLoad]:
        """See `sandbank.api.core.ports.Nodes.candidates`."""
        return [node.load() for node in self._usable() if _runs_sandboxes(node.info)]

    def builders(self) -> Sequence[ServiceInfoResponse]:
        """What the healthy nodes that build templates say of themselves."""
        return [node.info for node in self._usable() if ServiceInfoRole.TemplateBuilder in node.info.service_roles]

    def _usable(self) -> Iterator[_Node]:
        return (node for node in self._by_id.values() if node.healthy and node.named)

    def is_ready(self) -> bool:
        """Whether any node answers. One that is being drained counts: its sandboxes still want to be found, extended and killed."""
        return any(node.answers for node in self._nodes.values())

    def host_of(self, node_id: str) -> str:
        """The host that the node's proxies listen on."""
        return self._get(node_id).host

    def address_of(self, node_id: str) -> str:
        """Where the node's gRPC is."""
        return self._get(node_id).address

    def node_id(self, address: str) -> str | None:
        """See `sandbank.api.core.reconcile.Fleet.node_id`."""
        return self._nodes[address].node_id

    async def create(self, node_id: str, start: SandboxStart, execution_id: str) -> Started:
        """See `sandbank.api.core.ports.Nodes.create`."""
        node = self._get(node_id)
        vcpu = start.template.vcpu
        node.starting_vcpu += vcpu
        node.starting += 1
        try:
            response = await node.client.create(create_request(start, execution_id, datetime.now(UTC)))
        except BaseException as error:
            # Being full is no failure: the start is tried again.
            node.fails += not isinstance(error, ExhaustedError)
            raise
        finally:
            node.starting -= 1
            node.starting_vcpu -= vcpu
        node.successes += 1
        node.placed_vcpu += vcpu
        return read_started(response, start, datetime.now(UTC))

    async def set_end(self, node_id: str, sandbox_id: str, end_at: datetime) -> None:
        """See `sandbank.api.core.ports.Nodes.set_end`."""
        await self._get(node_id).client.update(SandboxUpdateRequest(sandbox_id=sandbox_id, end_time=to_timestamp(end_at)))

    async def set_egress(self, sandbox: Sandbox, wish: EgressWish, allow_internet_access: bool | None) -> None:
        """See `sandbank.api.core.ports.Nodes.set_egress`."""
        await self._get(sandbox.node_id).client.update(egress_update(sandbox, wish, allow_internet_access))

    async def delete(self, node_id: str, sandbox_id: str, execution_id: str, reason: str) -> None:
        """See `sandbank.api.core.ports.Nodes.delete`."""
        request = SandboxDeleteRequest(sandbox_id=sandbox_id, execution_id=execution_id, kill_reason=reason)
        await self._get(node_id).client.delete(request)

    async def pause(self, sandbox: Sandbox, env_id: str, build_id: str) -> None:
        """See `sandbank.api.core.ports.SnapshotNodes.pause`."""
        request = SandboxPauseRequest(
            sandbox_id=sandbox.sandbox_id, template_id=env_id, build_id=build_id, filesystem_only=not sandbox.has_memory
        )
        await self._get(sandbox.node_id).client.pause(request)

    async def checkpoint(self, sandbox: Sandbox, build_id: str) -> None:
        """See `sandbank.api.core.ports.SnapshotNodes.checkpoint`."""
        request = SandboxCheckpointRequest(sandbox_id=sandbox.sandbox_id, build_id=build_id, filesystem_only=not sandbox.has_memory)
        await self._get(sandbox.node_id).client.checkpoint(request)

    def discard(self, node_id: str, build_id: str) -> None:
        """See `sandbank.api.core.ports.SnapshotNodes.discard`. A node that is away keeps it."""
        self._tasks.start("discard", self._discard(node_id, build_id))

    async def list_snapshots(self) -> Sequence[tuple[str, str]]:
        """See `sandbank.api.core.unknown_snapshots.SnapshotPlaces.list_snapshots`."""
        nodes = [(node_id, node) for node_id, node in self._by_id.items() if node.answers]
        asked = [(node_id, node.client.list_snapshots()) for node_id, node in nodes]
        if self._shares_artifacts:
            asked += [(node_id, node.client.list_snapshots(shared=True)) for node_id, node in nodes[:1]]
        answers = await asyncio.gather(*(answer for _, answer in asked), return_exceptions=True)
        found: list[tuple[str, str]] = []
        for (node_id, _), answer in zip(asked, answers, strict=True):
            if isinstance(answer, set):
                found += [(node_id, build_id) for build_id in answer]
            elif not isinstance(answer, SandbankError):
                raise answer
        return found

    def abandon(self, node_id: str, sandbox_id: str, execution_id: str) -> None:
        """See `sandbank.api.core.ports.Nodes.abandon`."""
        now = datetime.now(UTC)
        self._abandoned = {key: at for key, at in self._abandoned.items() if now - at < _ABANDONED_KEPT}
        self._abandoned[execution_id] = now
        self._tasks.start("abandon", self._delete_abandoned(node_id, sandbox_id, execution_id))

    def is_abandoned(self, execution_id: str) -> bool:
        """See `sandbank.api.core.reconcile.Fleet.is_abandoned`."""
        return execution_id in self._abandoned

    async def report(self, address: str) -> NodeReport:
        """See `sandbank.api.core.reconcile.Fleet.report`."""
        node = self._nodes[address]
        placed_before = node.placed_vcpu
        try:
            info = await node.client.info()
            listed = await node.client.list()
        except SandbankError:
            node.answers = node.healthy = False
            node.silent_since = node.silent_since or datetime.now(UTC)
            raise
        self._require_own_id(node, info)
        if node.node_id is not None and node.node_id != info.node_id and self._by_id.get(node.node_id) is node:
            del self._by_id[node.node_id]
        node.node_id, node.info = info.node_id, info
        node.placed_vcpu -= placed_before
        node.answers, node.silent_since = True, None
        node.healthy = info.service_status == ServiceInfoStatus.Healthy
        self._by_id[info.node_id] = node
        running = {sandbox.sandbox_id: sandbox for sandbox in listed.sandboxes}
        executions = {sandbox_id: sandbox.execution_id for sandbox_id, sandbox in running.items()}
        return NodeReport(info.node_id, executions, lambda sandbox_id: read_running(running[sandbox_id], info.node_id))

    def states(self) -> Sequence[NodeState]:
        """See `sandbank.api.core.administration.NodeDirectory.states`."""
        return [
            read_state(node.info, silent_since=node.silent_since, starting=node.starting, successes=node.successes, fails=node.fails)
            for node in self._by_id.values()
        ]

    async def set_status(self, node_id: str, status: str) -> None:
        """See `sandbank.api.core.administration.NodeDirectory.set_status`."""
        node = self._get(node_id)
        wire = STATUS_TO_WIRE.get(status)
        if wire is None:
            raise ConflictError(f"a node cannot be made {status}")
        await node.client.override_status(wire)
        # It takes no sandbox from now on, or takes some again, without anybody waiting for the next report.
        node.info = await node.client.info()
        node.healthy = node.answers and node.info.service_status == ServiceInfoStatus.Healthy

    async def close(self) -> None:
        """Let go of all connections."""
        for node in self._nodes.values():
            await node.client.close()

    def _require_own_id(self, node: _Node, info: ServiceInfoResponse) -> None:
        """One process may have two addresses; two processes with one ID would have each other's sandboxes taken for lost."""
        other = self._by_id.get(info.node_id)
        if other is not None and other is not node and other.answers and other.info.service_id != info.service_id:
            node.answers = node.healthy = False
            raise ConflictError(f"{node.address} calls itself {info.node_id}, as {other.address} does: each node needs an ID of its own")

    def _get(self, node_id: str) -> _Node:
        node = self._by_id.get(node_id)
        if node is None:
            raise NodeUnknownError(f"node {node_id} is not known")
        return node

    async def _discard(self, node_id: str, build_id: str) -> None:
        try:
            await self._get(node_id).client.delete_snapshot(build_id)
        except SandbankError:
            if not self._shares_artifacts:
                raise
            for other_id, node in self._by_id.items():
                if other_id != node_id and node.answers:  # which removes it from where it is shared; its own copy whoever is away keeps
                    await node.client.delete_snapshot(build_id)
                    return
            raise

    async def _delete_abandoned(self, node_id: str, sandbox_id: str, execution_id: str) -> None:
        for _ in range(_ABANDON_TRIES):
            try:
                await self.delete(node_id, sandbox_id, execution_id, "orphaned")
            except NotFoundError:
                return
            except SandbankError:
                await asyncio.sleep(_ABANDON_PAUSE_SECONDS)
            else:
                return


def _runs_sandboxes(info: ServiceInfoResponse) -> bool:
    # Nodes that say nothing of their roles are older than these.
    return not info.service_roles or ServiceInfoRole.Orchestrator in info.service_roles
