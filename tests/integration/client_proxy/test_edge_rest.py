"""The edge API over HTTP/1.1 with real nodes (contract data-plane §8.3), and what hostile clients get."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest

from sandbank.client_proxy.endpoints import edge_connection, edge_server
from sandbank.contracts.info import ServiceInfoStatus
from sandbank.domain.errors import ConflictError
from tests.integration.client_proxy.edge import Edge, edge, eventually
from tests.integration.client_proxy.edge_node import EdgeNode

NODES = "/v1/service-discovery/nodes"
OK = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def nodes() -> AsyncIterator[list[EdgeNode]]:
    made = [EdgeNode(2), EdgeNode(1)]
    for node in made:
        await node.start()
    yield made
    for node in made:
        await node.stop()


@pytest.fixture
async def live(nodes: list[EdgeNode]) -> AsyncIterator[Edge]:
    async with edge([node.address for node in nodes]) as running:
        await running.see(2)
        yield running


async def raw(port: int, data: bytes, *, end: bool = False) -> bytes:
    """All that comes back until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        if end:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_nodes_are_listed_with_what_they_say_of_themselves(live: Edge, nodes: list[EdgeNode]) -> None:
    listed = (await live.client.get(NODES)).json()
    assert listed[0] == {
        "nodeID": "node-1",
        "serviceInstanceID": "instance-1",
        "serviceVersion": "1",
        "serviceVersionCommit": "c",
        "serviceStartedAt": "2026-01-01T00:00:00Z",
        "serviceType": "orchestrator",
        "serviceStatus": "healthy",
        "serviceHost": "127.0.0.1",
    }
    assert listed[1]["nodeID"] == "node-2"
    found = (await live.client.get("/v1/service-discovery")).json()["orchestrators"]
    assert found[0]["roles"] == ["orchestrator", "template-builder"]


@pytest.mark.parametrize(
    ("action", "wire", "shown"),
    [
        ("drain", ServiceInfoStatus.Draining, "draining"),
        ("kill", ServiceInfoStatus.Unhealthy, "unhealthy"),
        ("undrain", ServiceInfoStatus.Healthy, "healthy"),
    ],
)
async def test_a_change_reaches_the_node_and_nobody_else(
    live: Edge, nodes: list[EdgeNode], action: str, wire: ServiceInfoStatus, shown: str
) -> None:
    """§8.3: forwarded as ServiceStatusOverride."""
    nodes[0].status = nodes[1].status = ServiceInfoStatus.Standby
    body = {"serviceInstanceID": "instance-1", "serviceType": "orchestrator"}
    assert (await live.client.post(f"{NODES}/{action}", json=body)).status_code == 200
    assert (nodes[1].status, nodes[0].status) == (wire, ServiceInfoStatus.Standby)
    assert (await live.client.get(NODES)).json()[0]["serviceStatus"] == shown


async def test_a_node_that_refuses_or_is_away_is_400(live: Edge, nodes: list[EdgeNode]) -> None:
    """§8.3: 400 on failure."""
    nodes[0].refusal = ConflictError("cannot change node status")
    answer = await live.client.post(f"{NODES}/node-2/drain")
    assert (answer.status_code, answer.json()["message"]) == (400, "the status was not changed: cannot change node status")
    await nodes[1].stop()
    answer = await live.client.post(f"{NODES}/node-1/drain")
    assert (answer.status_code, answer.json()["code"]) == (400, 400)


async def test_a_process_that_was_replaced_is_not_drained_in_its_successors_place(live: Edge, nodes: list[EdgeNode]) -> None:
    nodes[0].service_id = "instance-new"
    assert (await live.client.post(f"{NODES}/instance-2/drain")).status_code == 404
    assert nodes[0].status == ServiceInfoStatus.Healthy


async def test_a_node_that_vanishes_is_listed_as_unhealthy(live: Edge, nodes: list[EdgeNode], monkeypatch: pytest.MonkeyPatch) -> None:
    await nodes[0].stop()

    async def shown() -> bool:
        return [item["serviceStatus"] for item in (await live.client.get(NODES)).json()] == ["healthy", "unhealthy"]

    await eventually(shown, 15)
    assert (await live.client.get("/health/traffic")).status_code == 200


async def test_a_proxy_without_a_node_is_unhealthy_until_it_sees_one() -> None:
    """§8.3."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    node = EdgeNode()
    async with edge([f"127.0.0.1:{port}"]) as live:
        assert (await live.client.get("/health")).status_code == 503
        assert (await live.client.get("/health/machine")).status_code == 200
        assert (await live.client.get("/v1/info")).json()["serviceStatus"] == "unhealthy"
        await node.start(port)

        async def healthy() -> bool:
            return (await live.client.get("/health")).status_code == 200

        await eventually(healthy)
        await node.stop()


async def test_without_a_secret_the_rest_is_refused() -> None:
    async with edge(secret="") as live:
        assert (await live.client.get(NODES)).status_code == 401
        assert (await live.client.get("/health")).status_code == 200


async def test_requests_follow_one_another_on_a_connection(live: Edge) -> None:
    last = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answers = await raw(live.port, OK + OK.replace(b"GET", b"HEAD") + last)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert answers.count(b'{"status":"ok"}') == 2


async def test_a_chunked_body_and_one_that_waits_for_100_are_read(live: Edge, nodes: list[EdgeNode]) -> None:
    body = json.dumps({"serviceInstanceID": "instance-1", "serviceType": "orchestrator"}).encode()
    head = b"POST /v1/service-discovery/nodes/drain HTTP/1.1\r\nHost: x\r\nX-API-Key: --edge-secret--\r\nContent-Type: application/json\r\n"
    head += b"Connection: close\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:])) + b"0\r\n\r\n"
    answer = await raw(live.port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    answer = await raw(live.port, head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\nHost: x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /health HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        (b"\x16\x03\x01\x00\x01\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000, 431),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 1000 + b"\r\n", 431),
        (b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", 413),
        (b"POST /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" + bytes(0x20000), 413),
    ],
)
async def test_what_is_no_acceptable_request_gets_one_clear_answer(live: Edge, request_bytes: bytes, status: int) -> None:
    answer = await raw(live.port, request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close" in head
    assert json.loads(body)["code"] == status


async def test_clients_that_trickle_are_cut(live: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((edge_server, "HEAD_SECONDS"), (edge_connection, "HEAD_SECONDS"), (edge_connection, "IDLE_SECONDS")):
        monkeypatch.setattr(module, name, 0.2)
    monkeypatch.setattr(edge_connection, "BODY_SECONDS", 0.2)
    assert await raw(live.port, b"") == b""
    assert await raw(live.port, b"P") == b""  # may yet become HTTP/2
    assert await raw(live.port, b"GET /health HTTP/1.1\r\nHos") == b""
    assert (await raw(live.port, OK)).endswith(b'{"status":"ok"}')  # and then says nothing more
    answer = await raw(live.port, b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_only_stops_sending_gets_its_answer(live: Edge) -> None:
    assert b"200 OK" in await raw(live.port, OK, end=True)
    assert await raw(live.port, b"GET /hea", end=True) == b""


async def test_connections_beyond_the_limit_are_turned_away_and_room_comes_back(live: Edge) -> None:
    live.server._max_connections = 3
    await live.client.aclose()
    await eventually(lambda: live.server._open == 0)
    held = [await asyncio.open_connection("127.0.0.1", live.port) for _ in range(3)]
    await eventually(lambda: live.server._open == 3)
    assert (await raw(live.port, b"")).startswith(b"HTTP/1.1 503 ")
    for _, writer in held:
        writer.close()
    await eventually(lambda: live.server._open == 0)
    assert b"200 OK" in await raw(live.port, OK, end=True)


async def test_a_client_that_resets_in_mid_request_leaves_nothing(live: Edge) -> None:
    await live.client.aclose()
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(OK * 50)
        writer.transport.abort()
    await eventually(lambda: live.server._open == 0 and not live.server._requests)


async def test_stopping_ends_idle_connections_at_once(nodes: list[EdgeNode]) -> None:
    async with edge([nodes[0].address]) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(OK)
        await reader.readuntil(b"}")
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", live.port)
        await eventually(lambda: bool(live.server._silent))
        await live.service.stop()
        assert await reader.read() == b""
        assert await silent.read() == b""
        writer.close()
        silent_writer.close()
        await live.server.wait()
