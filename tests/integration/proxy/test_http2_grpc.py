"""gRPC through one proxy and through two: a real client, a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from sandbank.client_proxy.adapters.nodes import NodeResolver
from sandbank.proxy.local import LocalResolver
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
from sandbank.state.catalog import CatalogEntry, MemoryCatalog
from tests.integration.proxy.certificates import Authority
from tests.integration.proxy.wire import SANDBOX, origin, read_head, route_to

Context = Any  # the library's stubs are older than it
END: Any = vars(grpc.aio)["EOF"]


async def _double(request: bytes, context: Context) -> bytes:
    assert dict(context.invocation_metadata() or ()).get("x-token") == "secret"
    context.set_trailing_metadata((("x-sum", "7"),))
    return request * 2


async def _refuse(request: bytes, context: Context) -> bytes:
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
    return b""


async def _echo(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def _flood(request: bytes, context: Context) -> AsyncIterator[bytes]:
    for _ in range(int(request)):
        yield bytes(100_000)


async def _count(requests: AsyncIterator[bytes], context: Context) -> bytes:
    total = 0
    async for request in requests:
        total += len(request)
    return b"%d" % total


@asynccontextmanager
async def grpc_server(certificate: bytes | None = None) -> AsyncIterator[int]:
    server = grpc.aio.server()
    handlers = {
        "Double": grpc.unary_unary_rpc_method_handler(_double),
        "Refuse": grpc.unary_unary_rpc_method_handler(_refuse),
        "Echo": grpc.stream_stream_rpc_method_handler(_echo),
        "Flood": grpc.unary_stream_rpc_method_handler(_flood),
        "Count": grpc.stream_unary_rpc_method_handler(_count),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(certificate, certificate)]))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@pytest.fixture(params=["one hop", "two hops"])
async def front(request: pytest.FixtureRequest, routes: RouteTable) -> AsyncIterator[ProxyServer]:
    """A client proxy with the node's routes in its process, or with the node's proxy behind it."""
    if request.param == "one hop":
        server = ProxyServer("client-proxy", LocalResolver(routes, first_hop=True), host="127.0.0.1", port=0)
        await server.start()
        yield server
        await server.stop()
        return
    node = sandbox_proxy(routes, host="127.0.0.1", port=0)
    await node.start()
    catalog = MemoryCatalog()
    await catalog.put(entry())
    server = ProxyServer("client-proxy", NodeResolver(catalog, port=node.port, timeout_seconds=5), host="127.0.0.1", port=0)
    await server.start()
    yield server
    await server.stop()
    await node.stop()


def entry() -> CatalogEntry:
    return CatalogEntry(SANDBOX, "execution-1", "node", "127.0.0.1", datetime.now(UTC), 24)


@asynccontextmanager
async def channel(front: ProxyServer, port: int) -> AsyncIterator[Any]:  # the library's stubs ask for serializers that it does not need
    options = [("grpc.default_authority", f"{port}-{SANDBOX}.localhost"), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}", options=options) as made:
        yield made


async def test_calls_metadata_trailers_and_errors(front: ProxyServer) -> None:
    async with grpc_server() as port, channel(front, port) as sdk:
        for size in (0, 3, 1_000_000):
            call = sdk.unary_unary("/test.Service/Double")(bytes(size), metadata=(("x-token", "secret"),))
            assert len(await call) == 2 * size
            assert ("x-sum", "7") in tuple(await call.trailing_metadata())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await sdk.unary_unary("/test.Service/Refuse")(b"")
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not today")
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await sdk.unary_unary("/test.Service/Unknown")(b"")
        assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_both_sides_talk_at_once(front: ProxyServer) -> None:
    async with grpc_server() as port, channel(front, port) as sdk:
        call = sdk.stream_stream("/test.Service/Echo")()
        for number in range(20):
            await call.write(b"%d" % number)
            assert await call.read() == b"%d" % number
        await call.done_writing()
        assert await call.read() == END
        assert await call.code() == grpc.StatusCode.OK


async def test_long_streams_each_way(front: ProxyServer) -> None:
    async with grpc_server() as port, channel(front, port) as sdk:
        received = 0
        async for piece in sdk.unary_stream("/test.Service/Flood")(b"200"):
            received += len(piece)
        assert received == 20_000_000

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(200):
                yield bytes(100_000)

        assert await sdk.stream_unary("/test.Service/Count")(pieces()) == b"20000000"


async def test_a_reader_that_stalls_holds_the_server_back(front: ProxyServer) -> None:
    async with grpc_server() as port, channel(front, port) as sdk:
        call = sdk.unary_stream("/test.Service/Flood")(b"400")
        assert len(await call.read()) == 100_000
        await asyncio.sleep(0.5)
        held = sum(stream.outbox.size for one in front._connections for stream in one._streams.values())  # type: ignore[attr-defined]
        assert held < 2_000_000
        received = 1
        while await call.read() != END:
            received += 1
        assert received == 400


async def test_a_call_that_is_given_up_ends_at_the_server(front: ProxyServer) -> None:
    async with grpc_server() as port, channel(front, port) as sdk:
        call = sdk.stream_stream("/test.Service/Echo")()
        await call.write(b"x")
        assert await call.read() == b"x"
        call.cancel()
        while any(one._streams for one in front._connections):  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)


async def test_a_cut_sandbox_and_one_that_is_not_there(front: ProxyServer, routes: RouteTable) -> None:
    async with grpc_server() as port, channel(front, port) as sdk:
        call = sdk.stream_stream("/test.Service/Echo")()
        await call.write(b"x")
        assert await call.read() == b"x"
        routes.remove(SANDBOX)
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await call.read()
        assert cut.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await sdk.unary_unary("/test.Service/Double")(b"")
        assert missing.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "502" in (missing.value.details() or "")


async def test_a_server_that_speaks_no_http2_is_a_closed_port(front: ProxyServer) -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with origin(old) as port, channel(front, port) as sdk:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await sdk.unary_unary("/test.Service/Double")(b"")
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_over_tls_to_the_proxy_and_from_it(routes: RouteTable, tmp_path: Path) -> None:
    """By ALPN from the client, and by ALPN again to a port whose service speaks TLS (sdk-latest §1.6)."""
    authority = Authority(tmp_path)
    context = authority.server_context("*.sbx.localhost")
    front = ProxyServer("client-proxy", LocalResolver(routes, first_hop=True), host="127.0.0.1", port=0, tls=lambda: context)
    await front.start()
    async with grpc_server(authority.issue("whoever").read_bytes()) as port:
        route = route_to()
        route.https_ports = frozenset({port})
        routes.add(route)
        trusted = grpc.ssl_channel_credentials(authority.path.read_bytes())
        name = f"{port}-{SANDBOX}.sbx.localhost"
        options = [("grpc.default_authority", name), ("grpc.ssl_target_name_override", name), ("grpc.enable_http_proxy", 0)]
        channel: Any = grpc.aio.secure_channel(f"127.0.0.1:{front.port}", trusted, options=options)
        async with channel as sdk:
            call = sdk.stream_stream("/test.Service/Echo")()
            for number in range(5):
                await call.write(b"%d" % number)
                assert await call.read() == b"%d" % number
            await call.done_writing()
            assert await call.read() == END
    await front.stop()
