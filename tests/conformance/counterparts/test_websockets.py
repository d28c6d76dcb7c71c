"""The `websockets` library at both ends of the proxy (contract data-plane §7.3, upgrades; §6.3, cuts)."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import websockets
from e2b import Sandbox
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.conformance.counterparts.conftest import GUEST
from tests.conformance.counterparts.packages import archive
from tests.conformance.domain.clients import Address
from tests.product.instance import Instance, wait_until

PORT = 8080
SILENCE_SECONDS = 12  # longer than a client may take for its head

Dial = Callable[..., ClientConnection]


def make_sandbox() -> Sandbox:
    """A sandbox with the server in it."""
    sandbox = Sandbox.create(timeout=600)
    sandbox.files.write("/home/user/packages.tar", archive(websockets))
    sandbox.files.write("/home/user/server.py", (GUEST / "websocket_server.py").read_text())
    sandbox.commands.run("tar xf packages.tar")
    sandbox.commands.run(f"python3 server.py {PORT}", background=True, timeout=0)
    # 426: this server wants to be asked for an upgrade.
    wait_until(lambda: httpx.get(f"http://{sandbox.get_host(PORT)}/").status_code == 426, "the server listens")
    return sandbox


@pytest.fixture(scope="module")
def talker(server: Instance) -> Iterator[Sandbox]:
    """One for all tests that leave it alive."""
    with make_sandbox() as sandbox:
        yield sandbox


def dial_to(sandbox: Sandbox, address: Address, scheme: str) -> Dial:
    """A client for one scheme; takes the path, and options of the library."""

    def dial(path: str, port: int = PORT, **options: Any) -> ClientConnection:
        trust = ssl.create_default_context(cafile=str(address.authority)) if scheme == "wss" else None
        arguments: dict[str, Any] = {"max_size": None, "ping_interval": None, "proxy": None, **options}
        client: ClientConnection = connect(f"{scheme}://{sandbox.get_host(port)}{path}", ssl=trust, **arguments)
        return client

    return dial


@pytest.fixture(params=["ws", "wss"])
def dial(request: pytest.FixtureRequest, talker: Sandbox, address: Address) -> Dial:
    """In cleartext and in TLS."""
    return dial_to(talker, address, request.param)


@pytest.mark.parametrize("compression", ["deflate", None])
def test_big_messages_arrive_intact(dial: Dial, compression: str | None) -> None:
    big = os.urandom(8_000_000)
    with dial("/echo", compression=compression) as client:
        assert client.response is not None
        assert ("permessage-deflate" in client.response.headers.get("Sec-WebSocket-Extensions", "")) is (compression is not None)
        for message in (big, "text: ä", b"", "", b"\x00\xff"):
            client.send(message)
            assert client.recv(timeout=60) == message
        client.send([big[:5], big[5:70_000], big[70_000:]])  # one message in fragments
        assert client.recv(timeout=60) == big


def test_many_messages_keep_their_order(dial: Dial) -> None:
    count = 3000
    with dial("/echo") as client:

        def send() -> None:
            for number in range(count):
                client.send(f"number {number}")

        sender = threading.Thread(target=send)
        sender.start()
        assert [client.recv(timeout=60) for _ in range(count)] == [f"number {number}" for number in range(count)]
        sender.join()
    with dial(f"/flood/{count}") as client:
        assert list(client) == [f"message {number}" for number in range(count)]


def test_pings_of_both_sides_are_answered(dial: Dial) -> None:
    with dial("/echo") as client:
        assert client.ping(b"anybody").wait(20)
    with dial("/ping") as client:
        assert client.recv(timeout=20) == "it is"


@pytest.mark.parametrize("code", [1000, 1011, 4001])
def test_close_codes_and_reasons_travel_both_ways(dial: Dial, code: int) -> None:
    with dial(f"/close/{code}") as client, pytest.raises(ConnectionClosed):
        client.recv(timeout=20)
    assert (client.close_code, client.close_reason) == (code, "as asked")
    with dial("/echo") as client:
        client.close(code, f"enough of {id(client)}")

    def was_heard() -> bool:
        with dial("/seen") as asking:
            return f"{code} enough of {id(client)}" in str(asking.recv(timeout=20))

    wait_until(was_heard, "the server saw how it was closed")


def test_subprotocols_are_negotiated_with_the_sandbox(dial: Dial) -> None:
    with dial("/echo", subprotocols=[Subprotocol("words.v1"), Subprotocol("words.v9")]) as client:
        assert client.subprotocol == "words.v1"
    with dial("/echo") as client:
        assert client.subprotocol is None


def test_a_closed_port_refuses_the_handshake_in_json(dial: Dial) -> None:
    with pytest.raises(InvalidStatus) as caught:
        dial("/echo", port=9999)
    assert caught.value.response.status_code == 502
    assert b"port is not open" in (caught.value.response.body or b"")


def test_silence_ends_nothing(talker: Sandbox, address: Address) -> None:
    """Neither side says a word for longer than heads and handshakes may take."""
    with dial_to(talker, address, "ws")("/echo") as clear, dial_to(talker, address, "wss")("/echo") as secured:
        time.sleep(SILENCE_SECONDS)
        for client in (clear, secured):
            client.send("still there?")
            assert client.recv(timeout=20) == "still there?"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_killed_sandbox_is_a_cut_without_a_farewell_and_then_not_found(server: Instance, address: Address, scheme: str) -> None:
    sandbox = make_sandbox()
    with dial_to(sandbox, address, scheme)("/echo") as client:
        client.send("alive")
        assert client.recv(timeout=20) == "alive"
        assert sandbox.kill() is True
        with pytest.raises(ConnectionClosed) as cut:
            client.recv(timeout=20)
        assert cut.value.rcvd is None, "a close frame that the sandbox never sent"
    with pytest.raises(InvalidStatus) as caught:
        dial_to(sandbox, address, scheme)("/echo")
    assert caught.value.response.status_code == 502
    assert b"was not found" in (caught.value.response.body or b"")
