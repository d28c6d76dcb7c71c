"""Streams that must not be gathered, end early or be given up (contract data-plane §7.3, §7.6; §6.3)."""

from __future__ import annotations

import itertools
import socket
import ssl
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from e2b import Sandbox

from tests.conformance.counterparts.conftest import GUEST
from tests.conformance.domain.clients import Address
from tests.product.instance import Instance, wait_until

PORT = 8090
SILENCE_SECONDS = 12  # longer than a client may take for its head
_numbers = itertools.count()
_late_ports = itertools.count(8100)


def make_sandbox() -> Sandbox:
    """A sandbox with `stream_server.py` in it."""
    sandbox = Sandbox.create(timeout=600)
    sandbox.files.write("/home/user/server.py", (GUEST / "stream_server.py").read_text())
    sandbox.commands.run(f"python3 server.py {PORT}", background=True, timeout=0)
    wait_until(lambda: httpx.get(f"http://{sandbox.get_host(PORT)}/").status_code == 200, "the server listens")
    return sandbox


@pytest.fixture(scope="module")
def streamer(server: Instance) -> Iterator[Sandbox]:
    """One for all tests that leave it alive."""
    with make_sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize(("scheme", "version"), [("http", "HTTP/1.1"), ("https", "HTTP/1.1"), ("https", "HTTP/2")])
def test_events_arrive_one_by_one(streamer: Sandbox, address: Address, scheme: str, version: str) -> None:
    """The next one is sent only when the one before has been acknowledged: a proxy that gathers them waits for ever."""
    trust = ssl.create_default_context(cafile=str(address.authority))
    first = next(_numbers) * 10
    with httpx.Client(verify=trust, http2=version == "HTTP/2", timeout=20, base_url=f"{scheme}://{streamer.get_host(PORT)}") as client:
        with client.stream("GET", f"/events/{first}/{first + 10}", headers={"Accept": "text/event-stream"}) as answer:
            assert answer.http_version == version
            assert answer.headers["Content-Type"] == "text/event-stream"
            numbers = []
            for line in answer.iter_lines():
                if line:
                    numbers.append(int(line.removeprefix("data: ")))
                    assert client.get(f"/heard/{numbers[-1]}").status_code == 200
        assert numbers == list(range(first, first + 10))


def test_a_silent_answer_is_waited_for(streamer: Sandbox, address: Address) -> None:
    manners = [("http", "--http1.1"), ("http", "--http2-prior-knowledge"), ("https", "--http1.1"), ("https", "--http2")]
    running = [
        subprocess.Popen(
            ["curl", "-sS", manner, "--cacert", str(address.authority), f"{scheme}://{streamer.get_host(PORT)}/silent/{SILENCE_SECONDS}"],
            stdout=subprocess.PIPE,
        )
        for scheme, manner in manners
    ]
    for process in running:
        assert process.communicate(timeout=60)[0] == b"before after"
        assert process.returncode == 0


def test_nothing_unasked_comes_to_clients_that_read_and_write_at_once(streamer: Sandbox, server: Instance, address: Address) -> None:
    """No session tickets: when one arrives while another thread writes, Python's clients lose what they write, and wait for ever."""
    trust = ssl.create_default_context(cafile=str(address.authority))
    name = streamer.get_host(PORT).partition(":")[0]
    with socket.create_connection(server.proxy_address, timeout=20) as raw, trust.wrap_socket(raw, server_hostname=name) as client:
        assert client.version() == "TLSv1.3"
        client.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert client.session is None or not client.session.has_ticket


def test_an_answer_comes_to_a_client_that_has_shut_its_side(streamer: Sandbox, server: Instance) -> None:
    body = b"x" * 300_000
    with socket.create_connection(server.proxy_address, timeout=20) as client:
        client.sendall(f"POST / HTTP/1.1\r\nHost: {streamer.get_host(PORT)}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"\r\n\r\n300000")


def test_a_port_that_opens_within_the_second_is_reached_at_once(streamer: Sandbox) -> None:
    port = next(_late_ports)
    assert httpx.get(f"http://{streamer.get_host(PORT)}/late/{port}/0.2").status_code == 200
    assert httpx.get(f"http://{streamer.get_host(port)}/").text == "here"


@pytest.mark.parametrize(("scheme", "version"), [("http", "--http1.1"), ("https", "--http2")])
def test_curl_may_retry_a_port_that_opens_later(streamer: Sandbox, address: Address, scheme: str, version: str) -> None:
    """The page of a closed port has a status that clients take for a passing trouble.

    Not by prior knowledge: Debian's curl cannot use such a connection twice, with other servers neither.
    """
    port = next(_late_ports)
    assert httpx.get(f"http://{streamer.get_host(PORT)}/late/{port}/3").status_code == 200
    command = ["curl", "-sS", "--fail", version, "--cacert", str(address.authority), "--retry", "20", "--retry-delay", "1"]
    url = f"{scheme}://{streamer.get_host(port)}/"
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "here"), done.stderr
    assert "502" in done.stderr, "the port was open at once: nothing was retried"


@pytest.mark.parametrize(("scheme", "manner"), [("http", "--http1.1"), ("http", "--http2-prior-knowledge"), ("https", "--http2")])
def test_a_killed_sandbox_is_a_broken_answer_and_then_not_found(server: Instance, address: Address, scheme: str, manner: str) -> None:
    sandbox = make_sandbox()
    url = f"{scheme}://{sandbox.get_host(PORT)}"
    curl = ["curl", "-sS", "--no-buffer", manner, "--cacert", str(address.authority)]
    with subprocess.Popen([*curl, f"{url}/silent/60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(7) == b"before "
        assert sandbox.kill() is True
        said = process.communicate(timeout=30)
        assert process.returncode in (18, 56, 92), (process.returncode, said)
    page = subprocess.run([*curl, "-w", " %{http_code}", f"{url}/"], capture_output=True, text=True, timeout=30, check=True).stdout
    assert "The sandbox was not found" in page
    assert page.endswith(" 502")
