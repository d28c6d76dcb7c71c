"""Which addresses a sandbox reaches: none of the node's, none that is private, no neighbour's."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2b import Sandbox

from tests.conformance.security.conftest import attempt
from tests.product.instance import Instance

REACH = (Path(__file__).parents[1] / "guest" / "reach.py").read_text()


def node_addresses() -> list[str]:
    """Every IPv4 address of the node's interfaces except loopback."""
    listed = json.loads(subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, text=True, check=True).stdout)
    found = [info["local"] for link in listed for info in link["addr_info"]]
    return [address for address in found if not address.startswith("127.")]


@pytest.fixture(scope="module")
def listeners() -> Iterator[tuple[int, int]]:
    """A TCP and a UDP echo on every address of the node, as services there would be."""
    tcp = socket.create_server(("0.0.0.0", 0), backlog=64)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", 0))
    stopping = threading.Event()

    def accept() -> None:
        while not stopping.is_set():
            try:
                tcp.accept()[0].close()
            except OSError:
                return

    def echo() -> None:
        while not stopping.is_set():
            try:
                data, peer = udp.recvfrom(100)
                udp.sendto(data, peer)
            except OSError:
                return

    threads = [threading.Thread(target=accept), threading.Thread(target=echo)]
    for thread in threads:
        thread.start()
    yield tcp.getsockname()[1], udp.getsockname()[1]
    stopping.set()
    with socket.create_connection(tcp.getsockname()):
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"", ("127.0.0.1", udp.getsockname()[1]))
    for thread in threads:
        thread.join()
    tcp.close()
    udp.close()


def reached(sandbox: Sandbox, kind: str, port: int, addresses: list[str]) -> list[str]:
    """To which of the addresses a connection from inside succeeds (TCP) or where a datagram is answered (UDP)."""
    sandbox.files.write("/tmp/reach.py", REACH)
    done = attempt(sandbox, f"python3 /tmp/reach.py {kind} {port} {' '.join(addresses)}", user="user")
    assert done.code == 0, done.output
    return done.output.split()


def gateway_of(sandbox: Sandbox) -> str:
    """The next hop of the default route inside: the node's end of the link."""
    found = attempt(sandbox, "ip route show default | awk '{print $3}'").output.strip()
    assert found
    return found


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_node_is_unreachable_at_every_address(sandbox: Sandbox, listeners: tuple[int, int], kind: str) -> None:
    port = listeners[0] if kind == "tcp" else listeners[1]
    assert reached(sandbox, kind, port, [*node_addresses(), gateway_of(sandbox)]) == []


def test_services_of_the_product_are_unreachable(sandbox: Sandbox, server: Instance) -> None:
    addresses = [*node_addresses(), gateway_of(sandbox)]
    for port in (22, 53, server.first_port, server.first_port + 2, server.first_port + 2007, server.first_port + 2008):
        assert reached(sandbox, "tcp", port, addresses) == [], f"port {port}"


PRIVATE = ["169.254.169.254", "169.254.170.2", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "100.100.100.200"]


@pytest.mark.parametrize("port", [53, 80, 443])
def test_metadata_and_private_addresses_are_unreachable(sandbox: Sandbox, port: int) -> None:
    assert reached(sandbox, "tcp", port, PRIVATE) == []


def test_own_resolver_of_the_node_is_unreachable(sandbox: Sandbox) -> None:
    with open("/etc/resolv.conf") as lines:
        servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
    private = [server for server in servers if "." in server and not server.startswith("127.")]
    assert reached(sandbox, "tcp", 53, private) == []
    assert reached(sandbox, "udp", 53, private) == []


def test_neighbours_are_unreachable(sandbox: Sandbox, neighbour: Sandbox) -> None:
    bound = "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 7777))"
    echo = f"{bound}\nwhile True: s.sendto(*s.recvfrom(10))"
    neighbour.files.write("/tmp/echo.py", echo)
    neighbour.commands.run("python3 -m http.server 7777 --bind 0.0.0.0", background=True, timeout=0)
    neighbour.commands.run("python3 /tmp/echo.py", background=True, timeout=0)
    addresses = attempt(neighbour, "ip -4 -o addr | awk '{print $4}' | cut -d/ -f1 | grep -v ^127").output.split()
    assert addresses
    listening = "for i in $(seq 50); do curl -s -o /dev/null http://127.0.0.1:7777/ && exit 0; sleep 0.1; done; exit 1"
    assert attempt(neighbour, listening).code == 0
    own = set(attempt(sandbox, "ip -4 -o addr | awk '{print $4}' | cut -d/ -f1").output.split())
    theirs = sorted(set(addresses) - own)
    assert reached(sandbox, "tcp", 7777, theirs) == []
    assert reached(sandbox, "udp", 7777, theirs) == []
    for address in theirs:
        assert attempt(sandbox, f"ping -c 1 -W 2 {address}").code != 0


def test_second_protocol_offers_no_way_around(sandbox: Sandbox) -> None:
    addresses = attempt(sandbox, "cat /proc/net/if_inet6 2>/dev/null | grep -v ' lo$'").output
    routes = attempt(sandbox, "ip -6 route show default").output
    assert routes.strip() == "", f"IPv6 has a default route, and no filter was tested for it: {routes} {addresses}"


def test_address_and_routes_cannot_be_changed(sandbox: Sandbox) -> None:
    commands = ["ip addr add 10.11.12.13/24 dev eth0", "ip route add 1.2.3.4 via 127.0.0.1", "ip link set eth0 down"]
    for command in commands:
        assert attempt(sandbox, command).code != 0


def test_loopback_inside_is_its_own(sandbox: Sandbox, server: Instance) -> None:
    assert reached(sandbox, "tcp", server.first_port, ["127.0.0.1"]) == []
    assert reached(sandbox, "tcp", 49983, ["127.0.0.1"]) == ["127.0.0.1"], "the probe itself does not work"
    assert attempt(sandbox, "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:49983/health").output == "204"


def test_names_resolve_or_fail_quickly_and_localhost_always_resolves(sandbox: Sandbox) -> None:
    assert attempt(sandbox, "getent ahostsv4 localhost").output.startswith("127.0.0.1")
    assert attempt(sandbox, "getent hosts $(hostname)").code == 0, "sudo and others stall on an unknown host name"
