"""The orchestrators that this proxy has seen, and how they are (contract data-plane §8.3, §9.3)."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from sandbank.domain.errors import NotFoundError

_VANISHED_KEPT_SECONDS = 600.0


class NodeStatus(enum.Enum):
    """What an orchestrator says of itself. Only a healthy one takes new sandboxes; every one goes on serving those it has."""

    HEALTHY = "healthy"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """One process of an orchestrator; another process on the same machine has another `instance_id`. `host` is where it is reached."""

    address: str
    node_id: str
    instance_id: str
    version: str
    commit: str
    started_at: datetime
    status: NodeStatus
    roles: tuple[str, ...]

    @property
    def host(self) -> str:
        """The address without its port."""
        return self.address.rpartition(":")[0]


@dataclass(slots=True)
class _Sighting:
    node: ClusterNode
    at: float


class Cluster:
    """What the last look at every address gave. A node that vanishes counts as unhealthy and is forgotten after ten minutes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sightings: dict[str, _Sighting] = {}
        self.ever_seen = False

    def saw(self, node: ClusterNode) -> None:
        """A node has answered."""
        self._sightings[node.address] = _Sighting(node, self._clock())
        self.ever_seen = True

    def missed(self, address: str) -> None:
        """Nobody has answered there."""
        sighting = self._sightings.get(address)
        if sighting is not None:
            sighting.node = replace(sighting.node, status=NodeStatus.UNHEALTHY)
            if self._clock() - sighting.at > _VANISHED_KEPT_SECONDS:
                del self._sightings[address]

    def missing_from(self, addresses: Collection[str]) -> list[str]:
        """Addresses with a node that are not among these any more."""
        return [address for address in self._sightings if address not in addresses]

    def nodes(self) -> list[ClusterNode]:
        """Oldest first; one that two addresses lead to is there once."""
        by_id = {sighting.node.instance_id: sighting.node for sighting in self._sightings.values()}
        return sorted(by_id.values(), key=lambda node: node.started_at)

    def find(self, instance_id: str) -> ClusterNode | None:
        """The process of that ID."""
        return next((sighting.node for sighting in self._sightings.values() if sighting.node.instance_id == instance_id), None)

    def get(self, key: str) -> ClusterNode:
        """By instance ID or, as the first generation of the edge API has it, by node ID; `NotFoundError` for neither."""
        node = self.find(key)
        if node is None:
            # A restarted node may leave its vanished process behind: the newest is meant.
            node = next((node for node in reversed(self.nodes()) if node.node_id == key), None)
        if node is None:
            raise NotFoundError(f"node {key!r} is not known")
        return node
