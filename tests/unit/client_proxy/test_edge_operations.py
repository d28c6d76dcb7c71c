"""What the edge API answers (contract data-plane §8.2, §8.3, §8.4)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from sandbank.client_proxy.core.cluster import NodeStatus
from sandbank.client_proxy.core.readiness import ProxyStatus, Readiness
from sandbank.domain.errors import ConflictError, InternalError, NotFoundError, SandbankError, UnavailableError
from sandbank.state.catalog import CatalogEntry
from tests.unit.client_proxy.edge_world import SECRET, World, error, node

NODES = "/v1/service-discovery/nodes"
OPEN = ["/health", "/health/traffic", "/health/machine", "/v1/info"]
CLOSED = [
    ("GET", "/v1/service-discovery"),
    ("GET", NODES),
    ("GET", f"{NODES}/orchestrators"),
    ("POST", f"{NODES}/drain"),
    ("POST", f"{NODES}/kill"),
    ("POST", f"{NODES}/undrain"),
    ("POST", f"{NODES}/node-1/drain"),
    ("POST", f"{NODES}/node-1/kill"),
    ("POST", f"{NODES}/node-1/undrain"),
    ("GET", "/v1/catalog/iabc"),
    ("GET", "/v1/sandboxes/iabc/logs"),
    ("GET", "/v1/sandboxes/iabc/metrics"),
    ("GET", "/v1/sandboxes/metrics"),
    ("GET", "/v1/templates/builds/b/logs"),
    ("GET", "/v1/no-such-thing"),
]


@pytest.fixture
def world() -> World:
    world = World()
    world.cluster.saw(node(2))
    world.cluster.saw(node(1))
    return world


@pytest.mark.parametrize("path", OPEN)
async def test_the_open_part_asks_for_no_key(world: World, path: str) -> None:
    assert (await world.ask("GET", path, key=None)).status == 200
    assert (await world.ask("HEAD", path, key="wrong")).status == 200


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_everything_else_is_401_without_the_key(world: World, method: str, path: str) -> None:
    """§8.2: `{"code":401,"message":…}`."""
    for key in (None, "", "wrong", SECRET + "x", SECRET[:-1]):
        assert error(await world.ask(method, path, key=key))[0] == 401
    assert not world.told


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("key", [None, "", SECRET])
async def test_without_a_secret_all_but_the_open_part_is_refused(method: str, path: str, key: str | None) -> None:
    world = World(secret="")
    assert error(await world.ask(method, path, key=key))[0] == 401
    assert (await world.ask("GET", "/v1/info", key=None)).status == 200


async def test_an_unknown_route_is_404_and_a_wrong_method_405(world: World) -> None:
    assert error(await world.ask("GET", "/v1/no-such-thing"))[0] == 404
    assert error(await world.ask("GET", "/health/", key=SECRET))[0] == 404
    assert error(await world.ask("GET", f"{NODES}//drain"))[0] == 404
    wrong = await world.ask("DELETE", NODES)
    assert (wrong.status, wrong.allow) == (405, ("GET", "HEAD"))
    assert b"\r\nAllow: GET, HEAD\r\n" in wrong.encode(close=False)
    assert (await world.ask("GET", f"{NODES}/drain")).allow == ("POST",)
    assert (await world.ask("POST", "/health", key=None)).allow == ("GET", "HEAD")


@pytest.mark.parametrize(
    ("status", "health", "traffic"),
    [(ProxyStatus.HEALTHY, 200, 200), (ProxyStatus.DRAINING, 200, 503), (ProxyStatus.UNHEALTHY, 503, 503)],
)
async def test_health_by_status(world: World, status: ProxyStatus, health: int, traffic: int) -> None:
    """§8.3: `/health` while healthy or draining, `/health/traffic` only while healthy."""
    world.status = status
    assert (await world.ask("GET", "/health", key=None)).status == health
    assert (await world.ask("GET", "/health/traffic", key=None)).status == traffic
    assert (await world.ask("GET", "/health/machine", key=None)).status == 200
    assert json.loads((await world.ask("GET", "/v1/info", key=None)).body)["serviceStatus"] == status.value


async def test_machine_health_is_503_when_terminating(world: World) -> None:
    """§8.3."""
    world.terminating = True
    assert error(await world.ask("GET", "/health/machine", key=None))[0] == 503


def test_a_proxy_is_unhealthy_until_it_serves_and_has_seen_a_node() -> None:
    """§8.3: the process starts unhealthy until at least one orchestrator is seen."""
    readiness = Readiness()
    assert readiness.status(knows_a_node=True) is ProxyStatus.UNHEALTHY
    readiness.ready = True
    assert readiness.status(knows_a_node=False) is ProxyStatus.UNHEALTHY
    assert readiness.status(knows_a_node=True) is ProxyStatus.HEALTHY
    readiness.ready, readiness.stopping = False, True
    assert readiness.status(knows_a_node=True) is ProxyStatus.DRAINING
    readiness.terminating = True
    assert readiness.status(knows_a_node=True) is ProxyStatus.UNHEALTHY


async def test_info_has_the_fields_of_the_contract(world: World) -> None:
    """§8.3."""
    info = json.loads((await world.ask("GET", "/v1/info", key=None)).body)
    assert set(info) == {"nodeID", "serviceInstanceID", "serviceVersion", "serviceVersionCommit", "serviceStartup", "serviceStatus"}
    assert info["nodeID"] == "proxy-1"
    assert datetime.fromisoformat(info["serviceStartup"]).tzinfo is not None


async def test_nodes_are_listed_oldest_first_with_the_fields_of_the_contract(world: World) -> None:
    """§8.3, §8.4."""
    common = {
        "nodeID": "node-1",
        "serviceInstanceID": "instance-1",
        "serviceVersion": "1.2.3",
        "serviceVersionCommit": "abc",
        "serviceStartedAt": "2026-01-01T00:00:00Z",
        "serviceStatus": "healthy",
        "serviceHost": "10.0.0.1",
    }
    nodes = json.loads((await world.ask("GET", NODES)).body)
    assert nodes[0] == {**common, "serviceType": "orchestrator"}
    orchestrators = json.loads((await world.ask("GET", f"{NODES}/orchestrators")).body)
    assert orchestrators[0] == {**common, "roles": ["orchestrator"]}
    assert json.loads((await world.ask("GET", "/v1/service-discovery")).body) == {"orchestrators": orchestrators}
    for listed in (nodes, orchestrators):
        assert [item["nodeID"] for item in listed] == ["node-1", "node-2"]


@pytest.mark.parametrize(
    ("action", "status"), [("drain", NodeStatus.DRAINING), ("kill", NodeStatus.UNHEALTHY), ("undrain", NodeStatus.HEALTHY)]
)
async def test_a_node_is_told_its_status_and_listed_with_it_at_once(world: World, action: str, status: NodeStatus) -> None:
    """§8.3 with a body, §8.2 with a path."""
    body = {"serviceInstanceID": "instance-1", "serviceType": "orchestrator", "something": "else"}
    answer = await world.ask("POST", f"{NODES}/{action}", body=body)
    assert (answer.status, answer.body) == (200, b"")
    assert (await world.ask("POST", f"{NODES}/node-2/{action}")).status == 200
    assert (await world.ask("POST", f"{NODES}/instance%2D2/{action}")).status == 200
    assert world.told == [("instance-1", status), ("instance-2", status), ("instance-2", status)]
    listed = json.loads((await world.ask("GET", NODES)).body)
    assert [item["serviceStatus"] for item in listed] == [status.value, status.value]


async def test_unknown_nodes_are_404(world: World) -> None:
    body = {"serviceInstanceID": "nobody", "serviceType": "orchestrator"}
    assert error(await world.ask("POST", f"{NODES}/drain", body=body)) == (404, "node 'nobody' is not known")
    assert error(await world.ask("POST", f"{NODES}/nobody/kill"))[0] == 404
    world.failure = NotFoundError("another process has its address")
    assert error(await world.ask("POST", f"{NODES}/node-1/drain"))[0] == 404


@pytest.mark.parametrize("failure", [UnavailableError("away"), ConflictError("cannot"), InternalError("broken")])
async def test_a_change_that_failed_is_400(world: World, failure: SandbankError) -> None:
    """§8.3."""
    world.failure = failure
    status, message = error(await world.ask("POST", f"{NODES}/node-1/drain"))
    assert (status, failure.message in message) == (400, True)
    assert json.loads((await world.ask("GET", NODES)).body)[0]["serviceStatus"] == "healthy"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b"[]",
        b"\xff",
        {},
        {"serviceInstanceID": "instance-1"},
        {"serviceType": "orchestrator"},
        {"serviceInstanceID": "", "serviceType": "orchestrator"},
        {"serviceInstanceID": 1, "serviceType": "orchestrator"},
        {"serviceInstanceID": "instance-1", "serviceType": "edge"},
        {"serviceInstanceID": "i" * 300, "serviceType": "orchestrator"},
        b"[" * 60_000,
    ],
)
async def test_bodies_of_the_wrong_shape_are_validation_errors(world: World, body: object) -> None:
    """§8.3: 400 `{code, message: "validation error: …"}`."""
    status, message = error(await world.ask("POST", f"{NODES}/drain", body=body))
    assert status == 400
    assert message.startswith("validation error: ")
    assert not world.told


async def test_a_body_of_another_type_is_a_validation_error(world: World) -> None:
    body = {"serviceInstanceID": "instance-1", "serviceType": "orchestrator"}
    status, message = error(await world.ask("POST", f"{NODES}/drain", body=body, content_type="text/plain"))
    assert (status, message.startswith("validation error: ")) == (400, True)
    assert (await world.ask("POST", f"{NODES}/drain", body=body, content_type="application/json; charset=utf-8")).status == 200


async def test_the_catalog_can_be_read(world: World) -> None:
    await world.catalog.put(CatalogEntry("iabc", "execution", "node-1", "10.0.0.1", datetime(2026, 1, 1, tzinfo=UTC), 24))
    assert json.loads((await world.ask("GET", "/v1/catalog/iabc")).body) == {
        "sandboxID": "iabc",
        "executionID": "execution",
        "orchestratorID": "node-1",
        "orchestratorIP": "10.0.0.1",
        "sandboxStartedAt": "2026-01-01T00:00:00Z",
        "sandboxMaxLengthInHours": 24,
    }
    assert error(await world.ask("GET", "/v1/catalog/iother"))[0] == 404
    assert error(await world.ask("GET", "/v1/catalog/NO!"))[0] == 400


async def test_a_fault_of_ours_is_500_without_detail(world: World) -> None:
    world.failure = KeyError("secret detail")  # type: ignore[assignment]
    assert error(await world.ask("POST", f"{NODES}/node-1/drain")) == (500, "internal error")
