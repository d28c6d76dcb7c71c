"""A pool on the real kernel, and a check that nothing of it is left."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbank.runtime.driver import NodeLayout
from sandbank.runtime.linux import nftables
from sandbank.runtime.linux.netlink import Routing
from sandbank.runtime.network.pool import SlotPool
from sandbank.runtime.network.settings import NetworkSettings
from tests.integration.network.internet import Internet
from tests.integration.network.name_server import NameServer
from tests.integration.network.namespaces import Neighbour, apart, make_namespaces

TABLE = "sandbank_nw"


def layout(path: Path) -> NodeLayout:
    return NodeLayout(path, path, instance="nw", subnet="10.213.0.0/16", uid_base=300_000_000, max_slots=1024)


def traces() -> tuple[set[str], set[str], int]:
    """Our links, our addresses, and this process's descriptors of namespaces."""

    def look() -> tuple[set[str], set[str]]:
        with Routing() as routing:
            links = {link.name for link in routing.links() if link.name.startswith("nw")}
            return links, {address for _, address, _ in routing.addresses() if address.startswith("10.213.")}

    links, addresses = apart(look)
    held = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            held += os.readlink(f"/proc/self/fd/{name}").startswith(("net:", "user:"))
        except FileNotFoundError:
            continue
    return links, addresses, held


async def table_exists() -> bool:
    return bool(await nftables.listing("table", "inet", TABLE))


@pytest.fixture
async def clean() -> AsyncIterator[None]:
    assert os.geteuid() == 0, "these tests need root"
    # `dial` keeps one descriptor per thread: made before counting.
    before = traces()
    assert not await table_exists(), "another run uses this instance"
    yield
    after = traces()
    assert after[:2] == before[:2]
    assert after[2] <= before[2] + 1
    assert not await table_exists()


@pytest.fixture
async def name_server() -> AsyncIterator[NameServer]:
    server = NameServer()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def pool(clean: None, name_server: NameServer, tmp_path: Path) -> AsyncIterator[SlotPool]:
    settings = NetworkSettings(free_target=2, hold_seconds=1.0, upstreams=(name_server.address,))
    made = SlotPool(layout(tmp_path), make_namespaces, settings)
    await made.start({})
    yield made
    await made.close(remove=True)


@pytest.fixture
def public() -> Iterator[Neighbour]:
    """A host of the internet, by an address of the documentation range."""
    neighbour = Neighbour("nwpub", "198.51.100.1", "198.51.100.2")
    yield neighbour
    neighbour.end()


@pytest.fixture
def private() -> Iterator[Neighbour]:
    """A host in the operator's own network; it has a way back to sandboxes, so only the firewall can keep them apart."""
    neighbour = Neighbour("nwprv", "172.29.77.1", "172.29.77.2")
    neighbour.add_route("172.29.77.1")
    yield neighbour
    neighbour.end()


@pytest.fixture
def internet(tmp_path: Path) -> Iterator[Internet]:
    made = Internet(tmp_path)
    yield made
    made.end()
