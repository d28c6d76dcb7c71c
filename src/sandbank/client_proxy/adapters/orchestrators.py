"""Orchestrators over gRPC: what they say of themselves, and being told how to be (contract data-plane §9.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC

from sandbank.client_proxy.core.cluster import ClusterNode, NodeStatus
from sandbank.contracts.info import ServiceInfoResponse, ServiceInfoRole, ServiceInfoStatus
from sandbank.domain.errors import DeadlineError, NotFoundError
from sandbank.rpc.orchestrator import OrchestratorClient

_ASK_SECONDS = 4.0  # less than the pause between two rounds of asking

_TO_WIRE = {
    NodeStatus.HEALTHY: ServiceInfoStatus.Healthy,
    NodeStatus.DRAINING: ServiceInfoStatus.Draining,
    NodeStatus.UNHEALTHY: ServiceInfoStatus.Unhealthy,
    NodeStatus.STANDBY: ServiceInfoStatus.Standby,
}
_FROM_WIRE = {wire: status for status, wire in _TO_WIRE.items()}
_ROLES = {ServiceInfoRole.Orchestrator: "orchestrator", ServiceInfoRole.TemplateBuilder: "template-builder"}


class Orchestrators:
    """Clients by address. Raises domain errors only."""

    def __init__(self) -> None:
        self._clients: dict[str, OrchestratorClient] = {}

    async def ask(self, address: str) -> ClusterNode:
        """The node that answers at `address`."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                info = await self._client(address).info()
        except TimeoutError as error:
            raise DeadlineError(f"orchestrator {address} did not answer in time") from error
        return _node(address, info)

    async def change_status(self, node: ClusterNode, status: NodeStatus) -> ClusterNode:
        """Tell `node` and return it as it is then. `NotFoundError` when another process has taken its address meanwhile."""
        if (await self.ask(node.address)).instance_id != node.instance_id:
            raise NotFoundError(f"node {node.instance_id!r} is gone: another process has its address")
        await self._client(node.address).override_status(_TO_WIRE[status])
        return await self.ask(node.address)

    async def forget(self, addresses: Collection[str]) -> None:
        """Let go of the connections to all but these."""
        for address in [address for address in self._clients if address not in addresses]:
            await self._clients.pop(address).close()

    async def close(self) -> None:
        """Let go of all connections."""
        await self.forget(())

    def _client(self, address: str) -> OrchestratorClient:
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = OrchestratorClient(address)
        return client


def _node(address: str, info: ServiceInfoResponse) -> ClusterNode:
    return ClusterNode(
        address=address,
        node_id=info.node_id,
        instance_id=info.service_id,
        version=info.service_version,
        commit=info.service_commit,
        started_at=info.service_startup.ToDatetime(UTC),
        # One that a newer release may know: whatever it is, it is not healthy.
        status=_FROM_WIRE.get(info.service_status, NodeStatus.UNHEALTHY),
        roles=tuple(_ROLES[role] for role in info.service_roles if role in _ROLES),
    )
