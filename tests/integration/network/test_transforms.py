"""Headers put into requests on their way out, through the kernel, the proxy and TLS on both sides (rest-api §10.1, data-plane §11.3)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbank.runtime.driver import OPEN, EgressPolicy
from sandbank.runtime.network.interception.authority import Authority
from sandbank.runtime.network.interception.transformer import HeaderTransformer
from sandbank.runtime.network.interception.trust import UpstreamTrust
from sandbank.runtime.network.pool import SlotPool
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.slot import Slot
from tests.integration.network.clients import SECONDS
from tests.integration.network.conftest import layout
from tests.integration.network.internet import Internet
from tests.integration.network.name_server import NameServer
from tests.integration.network.namespaces import make_namespaces
from tests.integration.network.origin import OTHER_SITE, SECURE_SITE, SITE
from tests.integration.network.traffic import within

ELSEWHERE = "203.0.113.99"  # what sandboxes claim that a name resolved to
RULE = {"X-Key": "Bearer ${e2b.secrets.key}", "X-Plain": "plain"}
LIMIT = 12
POLICY = EgressPolicy(transforms={"secure.test": RULE, "site.test": {"X-Plain": "plain"}, "other.test": RULE})


class Source:
    def __init__(self) -> None:
        self.secrets = {"secrets.key": "s3cr3t"}

    async def values(self, sandbox_id: str, references: Sequence[str]) -> Mapping[str, str]:
        assert sandbox_id == "one"
        return {name: self.secrets[name] for name in references if name in self.secrets}


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "authority.pem")
    made.open()
    return made


@pytest.fixture
async def pool(
    clean: None, name_server: NameServer, internet: Internet, authority: Authority, source: Source, tmp_path: Path
) -> AsyncIterator[SlotPool]:
    (tmp_path / "trusted.pem").write_text(internet.ca)
    settings = NetworkSettings(free_target=1, upstreams=(name_server.address,), transformed_slot_limit=LIMIT)
    transformer = HeaderTransformer(authority, source, UpstreamTrust(tmp_path / "trusted.pem"), settings)
    made = SlotPool(layout(tmp_path), make_namespaces, settings, transformer)
    await made.start({})
    name_server.zone |= {"secure.test": [SECURE_SITE], "site.test": [SITE], "other.test": [SECURE_SITE], "gone.test": []}
    yield made
    await made.close(remove=True)


@pytest.fixture
async def slot(pool: SlotPool) -> Slot:
    made = await pool.acquire()
    await pool.set_egress(made, "one", POLICY)
    return made


def get(name: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} / HTTP/1.1", f"Host: {name}", *lines, "", ""]).encode() + body


def ask(address: str, sni: str | None, ca: str, *writes: bytes) -> list[tuple[int, Any]]:
    """Status and body of each answer, the next piece being sent when the one before was answered; (0, why) when it broke."""
    answers: list[tuple[int, Any]] = []
    try:
        connection: socket.socket = socket.create_connection((address, 80 if sni is None else 443), timeout=SECONDS)
        with connection:
            if sni is not None:
                context = ssl.create_default_context(cadata=ca)
                context.set_alpn_protocols(["h2", "http/1.1"])
                connection = context.wrap_socket(connection, server_hostname=sni)
                assert connection.selected_alpn_protocol() == "http/1.1"
            stream = connection.makefile("rb")
            for piece in writes:
                connection.sendall(piece)
                status = stream.readline()
                if not status:
                    return [*answers, (0, "closed")]
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = stream.read(length)
                answers.append((int(status.split()[1]), json.loads(body) if body[:1] == b"{" else body.decode()))
            stream.close()
    except OSError as error:
        answers.append((0, type(error).__name__))
    return answers


async def https(slot: Slot, authority: Authority, name: str, *writes: bytes) -> list[tuple[int, Any]]:
    return await within(slot.netns_fd, ask, ELSEWHERE, name, authority.pem, *(writes or (get(name),)))


async def http(slot: Slot, *writes: bytes) -> list[tuple[int, Any]]:
    return await within(slot.netns_fd, ask, ELSEWHERE, None, "", *writes)


async def test_every_request_over_tls_gets_its_headers_wherever_the_sandbox_thinks_the_name_is(slot: Slot, authority: Authority) -> None:
    post = get("secure.test", "X-Key: mine", "Content-Length: 5", method="POST", body=b"hello")
    chunks = get("secure.test", "Transfer-Encoding: chunked", method="PUT", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    answers = await https(slot, authority, "secure.test", get("secure.test"), post, chunks, get("secure.test:443"))
    assert [(status, body["length"]) for status, body in answers] == [(200, 0), (200, 5), (200, 5), (200, 0)]
    for _, body in answers:
        assert body["address"] == SECURE_SITE
        assert (body["headers"]["x-key"], body["headers"]["x-plain"]) == ("Bearer s3cr3t", "plain")


@pytest.mark.parametrize("name", ["secure.test", "site.test"])
async def test_a_connection_ends_with_its_client(pool: SlotPool, slot: Slot, authority: Authority, name: str) -> None:
    """The server would keep it open for as long as it is."""
    answers = await (https(slot, authority, name) if name == "secure.test" else http(slot, get(name)))
    assert [status for status, _ in answers] == [200]
    async with asyncio.timeout(5):
        while pool._egress.flow_count:
            await asyncio.sleep(0.01)


async def test_other_names_are_not_looked_into(slot: Slot) -> None:
    """Their certificate is the server's own, not the node's."""

    def certificate() -> bytes:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection((OTHER_SITE, 443), timeout=SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="untouched.test") as connection,
        ):
            return connection.getpeercert(binary_form=True) or b""

    assert b"Sandbank" not in await within(slot.netns_fd, certificate)


async def test_plain_http_gets_headers_but_no_secrets(slot: Slot) -> None:
    [(status, body)] = await http(slot, get("site.test"))
    assert (status, body["address"], body["headers"]["x-plain"]) == (200, SITE, "plain")
    [(status, text)] = await http(slot, get("secure.test"))
    assert status == 403
    assert "https only" in text


async def test_a_server_that_is_not_the_name_gets_nothing(slot: Slot, authority: Authority) -> None:
    """Its certificate is for other names."""
    [(status, text)] = await https(slot, authority, "other.test")
    assert status == 502
    assert "other.test" in text


async def test_a_request_for_another_name_gets_nothing(slot: Slot, authority: Authority) -> None:
    [(status, _)] = await https(slot, authority, "secure.test", get("elsewhere.test"))
    assert status == 421
    answers = await https(slot, authority, "secure.test", get("secure.test"), get("elsewhere.test"))
    assert [status for status, _ in answers] == [200, 0]


@pytest.mark.parametrize(
    "request_bytes",
    [
        get("secure.test", "Transfer-Encoding: chunked", "Content-Length: 3"),
        get("secure.test", "Host: secure.test"),
        b"GET / HTTP/1.1\nHost: secure.test\n\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        get("secure.test", method="CONNECT"),
    ],
)
async def test_requests_that_servers_may_read_in_two_ways_are_refused(slot: Slot, authority: Authority, request_bytes: bytes) -> None:
    [(status, _)] = await https(slot, authority, "secure.test", request_bytes)
    assert status == 400


async def test_a_secret_that_is_gone_is_told(slot: Slot, authority: Authority, source: Source) -> None:
    source.secrets.clear()
    assert await https(slot, authority, "secure.test") == [(502, "sandbank: there is no secret key\n")]


async def test_a_websocket_gets_its_headers_and_is_a_tunnel_then(slot: Slot, authority: Authority) -> None:
    def talk() -> bytes:
        context = ssl.create_default_context(cadata=authority.pem)
        with (
            socket.create_connection((ELSEWHERE, 443), timeout=SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="secure.test") as connection,
        ):
            connection.sendall(get("secure.test", "Upgrade: websocket", "Connection: Upgrade"))
            received = b""
            while b"s3cr3t" not in received:
                received += connection.recv(1000)
            connection.sendall(b"not HTTP at all\r\n\r\n")
            while b"at all" not in received:
                received += connection.recv(1000)
            return received

    received = await within(slot.netns_fd, talk)
    assert received.startswith(b"HTTP/1.1 101 ")
    assert received.endswith(b"Bearer s3cr3tnot HTTP at all\r\n\r\n")


async def test_an_upgrade_to_what_cannot_be_looked_into_is_broken_off(slot: Slot, authority: Authority) -> None:
    [(status, _)] = await https(slot, authority, "secure.test", get("secure.test", "Upgrade: h2c", "Connection: Upgrade"))
    assert status == 0


async def test_new_rules_end_connections_with_the_old_ones(pool: SlotPool, slot: Slot, authority: Authority) -> None:
    def wait_for_the_end() -> str:
        context = ssl.create_default_context(cadata=authority.pem)
        try:
            with (
                socket.create_connection((ELSEWHERE, 443), timeout=SECONDS) as plain,
                context.wrap_socket(plain, server_hostname="secure.test") as connection,
            ):
                connection.sendall(get("secure.test"))
                while connection.recv(1000):
                    pass
        except TimeoutError:
            return "open"
        except OSError:
            return "reset"
        return "closed"

    waiting = asyncio.ensure_future(within(slot.netns_fd, wait_for_the_end))
    async with asyncio.timeout(10):
        while not pool._egress.flow_count:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
    await pool.set_egress(slot, "one", OPEN)
    assert await waiting in ("reset", "closed")


async def test_connections_of_one_sandbox_are_limited(pool: SlotPool, slot: Slot) -> None:
    """They are held by having said hello and nothing more."""

    def hold() -> tuple[int, int]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = context.wrap_bio(incoming, outgoing, server_hostname="secure.test")
        with contextlib.suppress(ssl.SSLWantReadError):
            hello.do_handshake()
        said, held, refused = outgoing.read(), [], 0
        for _ in range(20):
            connection = socket.create_connection((ELSEWHERE, 443), timeout=SECONDS)
            connection.sendall(said)
            try:
                refused += not connection.recv(1)
            except OSError:
                refused += 1
            held.append(connection)
        for connection in held:
            connection.close()
        return len(held) - refused, refused

    assert await within(slot.netns_fd, hold) == (LIMIT, 20 - LIMIT)
    assert (await within(slot.netns_fd, hold))[0] > 0


async def test_much_data_both_ways(slot: Slot, authority: Authority) -> None:
    size = 20_000_000

    def upload_and_echo() -> tuple[int, int]:
        context = ssl.create_default_context(cadata=authority.pem)
        with (
            socket.create_connection((ELSEWHERE, 443), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="secure.test") as connection,
        ):
            connection.sendall(get("secure.test", f"Content-Length: {size}", method="POST", body=b"x" * size))
            answer = connection.makefile("rb")
            while answer.readline() != b"\r\n":
                pass
            taken = json.loads(answer.read1(65536))["length"]
            connection.sendall(get("secure.test", "Upgrade: websocket"))
            return taken, connection.recv(1) == b""

    assert await within(slot.netns_fd, upload_and_echo) == (size, True)


def test_an_authority_is_made_once_for_root_only(tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    first, second = Authority(path), Authority(path)
    first.open()
    second.open()
    assert first.pem == second.pem
    assert path.stat().st_mode & 0o777 == 0o600
