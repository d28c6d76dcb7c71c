"""gRPC through the edge API's port (contract data-plane §8.3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty

from sandbank.client_proxy.endpoints import edge_passthrough
from sandbank.contracts.info import ServiceInfoResponse, ServiceInfoStatus, ServiceStatusChangeRequest
from sandbank.domain.errors import ConflictError
from tests.integration.client_proxy.edge import SECRET, Edge, edge, eventually
from tests.integration.client_proxy.edge_node import EchoNode, EdgeNode

KEY = ("authorization", SECRET)
TO_ECHO = (KEY, ("service-instance-id", "echo"))
CREATE = (
    ("event-type", "sandbox-catalog-create"),
    ("sandbox-id", "iabc"),
    ("execution-id", "execution-1"),
    ("orchestrator-id", "echo"),
    ("sandbox-max-length-in-hours", "24"),
    ("sandbox-start-time", "2026-01-01T00:00:00Z"),
)
DELETE = (("event-type", "sandbox-catalog-delete"), ("sandbox-id", "iabc"), ("execution-id", "execution-1"))
MIB = 1024 * 1024
END: Any = vars(grpc.aio)["EOF"]  # the stubs lack it


@pytest.fixture
async def echo() -> AsyncIterator[EchoNode]:
    node = EchoNode()
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def node() -> AsyncIterator[EdgeNode]:
    node = EdgeNode()
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def live(echo: EchoNode, node: EdgeNode) -> AsyncIterator[Edge]:
    async with edge([echo.address, node.address]) as running:
        await running.see(2)
        yield running


@pytest.fixture
async def channel(live: Edge) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{live.port}", options=options) as opened:
        yield opened


def unary(channel: grpc.aio.Channel, method: str, body: bytes, metadata: Any = TO_ECHO, timeout: float = 20) -> Any:
    return channel.unary_unary(method, None, None)(body, metadata=metadata, timeout=timeout)


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def test_rest_and_grpc_share_the_port(live: Edge, channel: grpc.aio.Channel) -> None:
    assert await unary(channel, "/Any.Service/Echo", b"hello") == b"hello"
    assert (await live.client.get("/health")).status_code == 200


async def test_a_call_reaches_the_instance_that_is_named(channel: grpc.aio.Channel, node: EdgeNode) -> None:
    """Typed calls, as a remote API makes them."""
    metadata = (KEY, ("service-instance-id", "instance-1"))
    info = channel.unary_unary("/InfoService/ServiceInfo", Empty.SerializeToString, ServiceInfoResponse.FromString)
    assert (await info(Empty(), metadata=metadata)).node_id == "node-1"
    override = channel.unary_unary("/InfoService/ServiceStatusOverride", ServiceStatusChangeRequest.SerializeToString, Empty.FromString)
    await override(ServiceStatusChangeRequest(service_status=ServiceInfoStatus.Draining), metadata=metadata)
    assert node.status == ServiceInfoStatus.Draining
    node.refusal = ConflictError("cannot change")
    assert await refused(override(ServiceStatusChangeRequest(), metadata=metadata)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "cannot change",
    )


async def test_messages_of_streams_pass_both_ways_as_they_come(channel: grpc.aio.Channel) -> None:
    call: Any = channel.stream_stream("/Any.Service/Echo", None, None)(None, metadata=TO_ECHO)
    for number in range(5):
        await call.write(b"%d" % number)
        assert await call.read() == b"%d" % number
    await call.done_writing()
    assert await call.read() is END
    assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_of_requests_is_one_answer(channel: grpc.aio.Channel) -> None:
    async def requests() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield bytes(1000)

    assert await channel.stream_unary("/Any.Service/Count", None, None)(requests(), metadata=TO_ECHO) == b"300"


async def test_metadata_and_deadline_pass_but_the_secret_stays(channel: grpc.aio.Channel, echo: EchoNode) -> None:
    call = unary(channel, "/Any.Service/Echo", b"", (*TO_ECHO, ("custom", "kept"), ("custom-bin", b"\0\xff")), timeout=7)
    assert await call == b""
    assert dict(await call.initial_metadata())["begun"] == "yes"
    trailers = dict(await call.trailing_metadata())
    assert (trailers["ended"], trailers["ended-bin"]) == ("yes", b"\0\1")
    assert (echo.metadata["custom"], echo.metadata["custom-bin"]) == ("kept", b"\0\xff")
    assert SECRET not in echo.metadata.values()
    assert "service-instance-id" not in echo.metadata
    assert echo.time_remaining is not None
    assert echo.time_remaining <= 7


async def test_errors_pass_with_status_text_and_trailers(channel: grpc.aio.Channel) -> None:
    call = unary(channel, "/Any.Service/Fail", b"")
    assert await refused(call) == (grpc.StatusCode.DATA_LOSS, "Grüße: 100 %")
    assert dict(await call.trailing_metadata())["detail-bin"] == b"\0\xff"


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED),
        ((("service-instance-id", "echo"),), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", ""), ("service-instance-id", "echo")), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", f"Bearer {SECRET}"), ("service-instance-id", "echo")), grpc.StatusCode.UNAUTHENTICATED),
        ((KEY,), grpc.StatusCode.INVALID_ARGUMENT),
        ((KEY, ("service-instance-id", "")), grpc.StatusCode.INVALID_ARGUMENT),
        ((KEY, ("service-instance-id", "nobody")), grpc.StatusCode.NOT_FOUND),
        ((*TO_ECHO, ("event-type", "sandbox-catalog-create")), grpc.StatusCode.INVALID_ARGUMENT),
        ((*TO_ECHO, ("event-type", "sandbox-catalog-delete")), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_calls_that_are_refused_reach_nobody(
    channel: grpc.aio.Channel, echo: EchoNode, metadata: Any, status: grpc.StatusCode
) -> None:
    assert (await refused(unary(channel, "/Any.Service/Echo", b"x", metadata)))[0] is status
    assert not echo.metadata


async def test_without_a_secret_nobody_is_let_through(echo: EchoNode) -> None:
    async with edge([echo.address], secret="") as live, grpc.aio.insecure_channel(f"127.0.0.1:{live.port}") as channel:
        for metadata in ((), (("authorization", ""), ("service-instance-id", "echo"))):
            assert (await refused(unary(channel, "/Any.Service/Echo", b"x", metadata)))[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_the_health_method_asks_for_no_key(live: Edge, channel: grpc.aio.Channel) -> None:
    """§8.3: `/EdgePassThrough/healthcheck`."""
    health = channel.unary_unary("/EdgePassThrough/healthcheck", Empty.SerializeToString, Empty.FromString)
    assert await health(Empty()) == Empty()
    live.service._readiness.ready = False
    live.service._readiness.terminating = True
    assert (await refused(health(Empty())))[0] is grpc.StatusCode.UNAVAILABLE


async def test_messages_up_to_five_mebibytes_pass_and_larger_ones_do_not(channel: grpc.aio.Channel) -> None:
    """§8.3."""
    message = bytes(5 * MIB)
    assert await unary(channel, "/Any.Service/Echo", message) == message
    assert (await refused(unary(channel, "/Any.Service/Echo", message + b"x")))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await refused(unary(channel, "/Any.Service/Large", b"%d" % (5 * MIB + 1))))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(await unary(channel, "/Any.Service/Large", b"%d" % (5 * MIB))) == 5 * MIB


async def test_a_call_that_is_cancelled_is_cancelled_at_the_node(channel: grpc.aio.Channel, echo: EchoNode) -> None:
    call = unary(channel, "/Any.Service/Hang", b"")
    await eventually(lambda: bool(echo.metadata))
    call.cancel()
    async with asyncio.timeout(10):
        await echo.cancelled.wait()


async def test_a_deadline_ends_the_call_at_the_node(channel: grpc.aio.Channel, echo: EchoNode) -> None:
    assert (await refused(unary(channel, "/Any.Service/Hang", b"", timeout=0.3)))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(10):
        await echo.cancelled.wait()


async def test_a_node_that_does_not_read_holds_its_client_up(channel: grpc.aio.Channel, echo: EchoNode) -> None:
    """Nothing piles up on the way: the sender stalls after some messages."""
    call: Any = channel.stream_unary("/Any.Service/Hoard", None, None)(None, metadata=TO_ECHO)
    sent = 0
    try:
        async with asyncio.timeout(3):
            for _ in range(200):
                await call.write(bytes(MIB))
                sent += 1
    except TimeoutError:
        pass
    assert sent < 50
    call.cancel()


async def test_a_node_that_is_away_is_unavailable_and_its_address_stays_unsaid(
    live: Edge, channel: grpc.aio.Channel, echo: EchoNode
) -> None:
    await echo.stop()
    assert await refused(unary(channel, "/Any.Service/Echo", b"")) == (
        grpc.StatusCode.UNAVAILABLE,
        "the orchestrator cannot be reached",
    )


async def test_a_create_that_succeeds_is_in_the_catalog(live: Edge, channel: grpc.aio.Channel) -> None:
    """§8.3: `sandbox-catalog-create`, `sandbox-catalog-delete`."""
    await unary(channel, "/SandboxService/Echo", b"", (*TO_ECHO, *CREATE))
    entry = (await live.client.get("/v1/catalog/iabc")).json()
    assert (entry["executionID"], entry["orchestratorID"], entry["orchestratorIP"]) == ("execution-1", "echo", "127.0.0.1")
    assert (entry["sandboxStartedAt"], entry["sandboxMaxLengthInHours"]) == ("2026-01-01T00:00:00Z", 24)
    await unary(channel, "/SandboxService/Echo", b"", (*TO_ECHO, *DELETE))
    assert (await live.client.get("/v1/catalog/iabc")).status_code == 404


@pytest.mark.parametrize("method", ["Fail", "Hang"])
async def test_a_create_that_fails_or_is_given_up_is_not(live: Edge, channel: grpc.aio.Channel, method: str) -> None:
    """§8.3: stored before forwarding, removed if the call fails."""
    await refused(unary(channel, f"/SandboxService/{method}", b"", (*TO_ECHO, *CREATE), timeout=1))

    async def gone() -> bool:
        return await live.catalog.find("iabc") is None

    await eventually(gone)


async def test_a_client_that_speaks_http2_and_nothing_more_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preface costs a connection for ten seconds, no longer."""
    options = dict(edge_passthrough._SERVER_OPTIONS)
    assert options["grpc.server_handshake_timeout_ms"] == 10_000
    hasty = list((options | {"grpc.server_handshake_timeout_ms": 300}).items())
    monkeypatch.setattr(edge_passthrough, "_SERVER_OPTIONS", hasty)
    async with edge() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        async with asyncio.timeout(9):
            await reader.read()
        writer.close()


async def test_http2_that_is_none_ends_the_connection_and_nothing_else(live: Edge, channel: grpc.aio.Channel) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 10_000)
    async with asyncio.timeout(15):
        await reader.read()
    writer.close()
    assert await unary(channel, "/Any.Service/Echo", b"still") == b"still"


async def test_a_client_that_resets_leaves_no_connection_behind(live: Edge, caplog: pytest.LogCaptureFixture) -> None:
    before = live.server._open
    for _ in range(10):
        _, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        await writer.drain()
        writer.transport.abort()
    await eventually(lambda: live.server._open <= before)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_stopping_ends_calls_in_progress(live: Edge, channel: grpc.aio.Channel, echo: EchoNode) -> None:
    call = unary(channel, "/Any.Service/Hang", b"")
    await eventually(lambda: bool(echo.metadata))
    await live.service.stop()
    assert (await refused(call))[0] in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    async with asyncio.timeout(10):
        await echo.cancelled.wait()
