"""A gRPC server inside a sandbox, called through the client proxy (contract data-plane §7)."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
import typing_extensions
from e2b import Sandbox

from tests.conformance.counterparts.packages import archive
from tests.conformance.domain.clients import Address
from tests.product.instance import Instance, wait_until

_SERVER = """
import grpc
from concurrent.futures import ThreadPoolExecutor

def shout(request, context):
    context.set_trailing_metadata((("said", "loud"),))
    return request.upper()

def each(requests, context):
    for request in requests:
        yield request.upper()

def refuse(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ä")

handlers = {
    "Shout": grpc.unary_unary_rpc_method_handler(shout),
    "Each": grpc.stream_stream_rpc_method_handler(each),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
}
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Voice", handlers),))
server.add_insecure_port("127.0.0.1:50051")
server.start()
server.wait_for_termination()
"""


@pytest.fixture(scope="module")
def voice(server: Instance) -> Iterator[Sandbox]:
    """A sandbox with the server on port 50051."""
    with Sandbox.create(timeout=600) as sandbox:
        sandbox.files.write("/home/user/packages.tar", archive(grpc, typing_extensions))
        sandbox.files.write("/home/user/server.py", _SERVER)
        sandbox.commands.run("tar xf packages.tar")
        sandbox.commands.run("python3 server.py > log 2>&1", background=True, timeout=0)
        wait_until(lambda: sandbox.commands.run("ss -ltn").stdout.count(":50051") == 1, "the server listens", seconds=30)
        yield sandbox


@pytest.fixture(params=["cleartext", "TLS"])
def channel(request: pytest.FixtureRequest, voice: Sandbox, address: Address) -> Iterator[grpc.Channel]:
    """To the sandbox by name."""
    name = voice.get_host(50051)
    if request.param == "TLS":
        made = grpc.secure_channel(name, grpc.ssl_channel_credentials(address.authority.read_bytes()))
    else:
        made = grpc.insecure_channel(name)
    with made as opened:
        yield opened


def test_calls_streams_trailers_and_errors(channel: grpc.Channel) -> None:
    shout = channel.unary_unary("/test.Voice/Shout", bytes, bytes)
    answer, call = shout.with_call(b"hello" * 100_000, timeout=30)
    assert answer == b"HELLO" * 100_000
    assert dict(call.trailing_metadata())["said"] == "loud"
    words = [b"one", b"two", b"three"]
    each = channel.stream_stream("/test.Voice/Each", bytes, bytes)
    assert list(each(iter(words), timeout=30)) == [b"ONE", b"TWO", b"THREE"]
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test.Voice/Refuse", bytes, bytes)(b"", timeout=30)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not today: ä")
