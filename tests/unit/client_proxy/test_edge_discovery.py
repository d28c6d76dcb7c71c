"""Which nodes there are (contract data-plane §8.3): seen, missed, replaced, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import pytest

from sandbank.client_proxy.background.node_poller import NodePoller
from sandbank.client_proxy.core.cluster import Cluster, ClusterNode, NodeStatus
from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.domain.errors import NotFoundError, SandbankError, UnavailableError
from tests.unit.client_proxy.edge_world import node


class Discovery:
    """Addresses and what answers there; what is not there is away."""

    def __init__(self) -> None:
        self.now = 0.0
        self.addresses: Sequence[str] = ()
        self.nodes: dict[str, ClusterNode] = {}
        self.kept: Collection[str] = ()
        self.failure: SandbankError | None = None
        self.said: list[str] = []
        self.cluster = Cluster(lambda: self.now)
        self.poller = NodePoller(self, self, self.cluster, lambda what, error: self.said.append(what))

    async def list(self) -> Sequence[str]:
        if self.failure is not None:
            raise self.failure
        return self.addresses

    async def ask(self, address: str) -> ClusterNode:
        await asyncio.sleep(0)
        if address not in self.nodes:
            raise UnavailableError("away")
        return self.nodes[address]

    async def forget(self, addresses: Collection[str]) -> None:
        self.kept = addresses

    def appear(self, *nodes: ClusterNode) -> None:
        self.nodes = {item.address: item for item in nodes}
        self.addresses = list(self.nodes)

    def statuses(self) -> dict[str, str]:
        return {item.instance_id: item.status.value for item in self.cluster.nodes()}


@pytest.fixture
def discovery() -> Discovery:
    return Discovery()


async def test_a_node_that_vanishes_is_unhealthy_and_forgotten_only_later(discovery: Discovery) -> None:
    discovery.appear(node(1), node(2))
    await discovery.poller.look()
    del discovery.nodes[node(1).address]
    discovery.now = 5
    await discovery.poller.look()
    assert discovery.statuses() == {"instance-1": "unhealthy", "instance-2": "healthy"}
    discovery.now = 601
    await discovery.poller.look()
    assert discovery.statuses() == {"instance-2": "healthy"}
    assert discovery.said == [node(1).address]  # once, not every five seconds
    discovery.appear(node(1), node(2))
    await discovery.poller.look()
    assert discovery.statuses() == {"instance-1": "healthy", "instance-2": "healthy"}


async def test_a_node_whose_address_is_listed_no_more_is_kept_as_unhealthy(discovery: Discovery) -> None:
    discovery.appear(node(1), node(2))
    await discovery.poller.look()
    discovery.appear(node(2))
    await discovery.poller.look()
    assert discovery.statuses() == {"instance-1": "unhealthy", "instance-2": "healthy"}
    assert list(discovery.kept) == [node(2).address]


async def test_a_discovery_that_fails_changes_nothing(discovery: Discovery) -> None:
    discovery.appear(node(1))
    await discovery.poller.look()
    discovery.failure = UnavailableError("no name server")
    await discovery.poller.look()
    assert discovery.statuses() == {"instance-1": "healthy"}
    assert discovery.said == ["discovery"]


async def test_a_restarted_node_takes_the_place_of_its_former_process(discovery: Discovery) -> None:
    discovery.appear(node(1, status=NodeStatus.DRAINING))
    await discovery.poller.look()
    discovery.appear(node(1, instance_id="instance-new"))
    await discovery.poller.look()
    assert discovery.statuses() == {"instance-new": "healthy"}
    with pytest.raises(NotFoundError):
        discovery.cluster.get("instance-1")


async def test_one_node_at_two_addresses_is_one_node(discovery: Discovery) -> None:
    discovery.appear(node(1), node(1, address="[::1]:5008"))
    await discovery.poller.look()
    assert discovery.statuses() == {"instance-1": "healthy"}


async def test_a_node_id_means_its_newest_process(discovery: Discovery) -> None:
    discovery.appear(node(1), node(2, node_id="node-1"))
    await discovery.poller.look()
    assert discovery.cluster.get("node-1").instance_id == "instance-2"


async def test_nothing_was_ever_seen_until_something_was(discovery: Discovery) -> None:
    discovery.addresses = ["10.0.0.1:5008"]
    await discovery.poller.look()
    assert not discovery.cluster.ever_seen
    discovery.appear(node(1))
    await discovery.poller.look()
    discovery.nodes.clear()
    await discovery.poller.look()
    assert discovery.cluster.ever_seen


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ("127.0.0.1", ("127.0.0.1:5008",)),
        ("a, b:6000 ,", ("a:5008", "b:6000")),
        ("::1", ("[::1]:5008",)),
        ("[::1]", ("[::1]:5008",)),
        ("[::1]:6000", ("[::1]:6000",)),
        ("", ()),
    ],
)
def test_nodes_are_given_with_or_without_ports(monkeypatch: pytest.MonkeyPatch, given: str, addresses: tuple[str, ...]) -> None:
    """§8.1: `SD_ORCHESTRATOR_STATIC=127.0.0.1`, `ORCHESTRATOR_PORT`."""
    for name in ("SANDBANK_NODES", "SANDBANK_ORCHESTRATOR_PORT", "ORCHESTRATOR_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SD_ORCHESTRATOR_STATIC", given)
    assert ClientProxySettings().orchestrator_addresses == addresses
