"""Ten thousand idle connections to the client proxy, and work that goes on beside them."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
from collections.abc import Iterator

from e2b import Sandbox

from tests.product.instance import Instance
from tests.product.processes import service_pid

CONNECTIONS = 10_000
GROWTH_LIMIT_MIB = 200


def resident_mib(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) // 1024


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """This process may have as many as its hard limit says."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert before[1] == resource.RLIM_INFINITY or before[1] > CONNECTIONS + 1000, f"the hard limit of open files is {before[1]}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS + 1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_work_goes_on_beside_ten_thousand_idle_connections(server: Instance, web: Sandbox) -> None:
    host = web.get_host(49983)
    request = f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    before = resident_mib(service_pid(server))
    with many_descriptors(), contextlib.ExitStack() as stack:
        idle = []
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(socket.create_connection(server.proxy_address, timeout=20))
            connection.sendall(request)
            assert connection.recv(1024).startswith(b"HTTP/1.1 204")
            idle.append(connection)
        assert resident_mib(service_pid(server)) - before < GROWTH_LIMIT_MIB
        assert web.commands.run("echo fine").stdout == "fine\n"
        load = [
            "wrk",
            "-t1",
            "-c20",
            "-d3s",
            "--timeout",
            "30s",
            "-H",
            f"Host: {web.get_host(8002)}",
            "http://{}:{}/".format(*server.proxy_address),
        ]
        output = subprocess.run(load, capture_output=True, text=True, check=True, timeout=60).stdout
        assert "Non-2xx" not in output, output
        assert "Socket errors" not in output, output
        for connection in (idle[0], idle[CONNECTIONS // 2], idle[-1]):
            connection.sendall(request)
            assert connection.recv(1024).startswith(b"HTTP/1.1 204"), "an idle connection was lost"
