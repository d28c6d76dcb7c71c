"""Small requests, a long download and WebSocket echoes through the client proxy, side by side with nginx in front of the same backend.

    python -m benchmarks.proxy_load [--rounds 5] [--seconds 4] [--gigabytes 1] [--only small|large|echo]

Needs nginx and wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.sync.client import connect

from benchmarks import proxies
from benchmarks.proxies import (
    BACKEND_PORT,
    ECHO_PORT,
    NGINX_ECHO_PORT,
    NGINX_PORT,
    PROXY_PORT,
    TWO_HOP_PORT,
    TWO_NGINX_PORT,
    cpu_seconds,
    host,
)
from benchmarks.turns import compare, take_turns

_EACH_ANOTHER = """
local count = 0
request = function() count = count + 1; return wrk.format(nil, "/" .. count) end
"""


def _requests_per_second(port: int, seconds: float, script: Path | None = None) -> float:
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-H", f"Host: {host(BACKEND_PORT)}", f"http://127.0.0.1:{port}/"]
    if script is not None:
        command += ["-s", str(script)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert match is not None, output
    return float(match[1])


def _load(
    pids: dict[int, int], seconds: float, script: Path | None, per_cpu_second: dict[str, list[float]], label: str, port: int
) -> float:
    before = cpu_seconds(pids[port])
    rate = _requests_per_second(port, seconds, script)
    per_cpu_second[label].append(rate * seconds / (cpu_seconds(pids[port]) - before))
    return rate


def _download_seconds(port: int, size: int) -> float:
    buffer = bytearray(1024 * 1024)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        started = time.perf_counter()
        sock.sendall(f"GET /large/large HTTP/1.1\r\nHost: {host(BACKEND_PORT)}\r\nConnection: close\r\n\r\n".encode())
        received = 0
        while count := sock.recv_into(buffer):
            received += count
        elapsed = time.perf_counter() - started
    if received < size:
        raise RuntimeError(f"{received} of {size} bytes")
    return elapsed


def _echo_microseconds(port: int, messages: int) -> float:
    """The median of one message's way there and back."""
    taken = []
    with connect(
        f"ws://{host(ECHO_PORT)}:{port}/", sock=socket.create_connection(("127.0.0.1", port)), compression=None, proxy=None
    ) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(messages):
            started = time.perf_counter()
            client.send(f"message {number}")
            client.recv()
            taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--only", choices=["small", "large", "echo"])
    parser.add_argument("--json", action="store_true", help="print the ratios as the last line")
    arguments = parser.parse_args()
    for program in ("nginx", "wrk"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed")
    ratios: dict[str, dict[str, float]] = {}
    everyone = {"nginx": NGINX_PORT, "one hop": PROXY_PORT, "two nginx": TWO_NGINX_PORT, "two hops": TWO_HOP_PORT}
    with tempfile.TemporaryDirectory(prefix="sandbank-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        size = int(arguments.gigabytes * 1024**3)
        with (directory / "large").open("wb") as file:
            file.truncate(size)
        (directory / "each.lua").write_text(_EACH_ANOTHER)
        stack.enter_context(proxies.nginx("backend", directory, BACKEND_PORT, proxies.BACKEND.format(port=BACKEND_PORT, dir=name)))
        front = proxies.FRONT.format(port=NGINX_PORT, backend=BACKEND_PORT)
        pids = {NGINX_PORT: stack.enter_context(proxies.nginx("front", directory, NGINX_PORT, front))}
        front = proxies.FRONT.format(port=TWO_NGINX_PORT, backend=NGINX_PORT)
        pids[TWO_NGINX_PORT] = stack.enter_context(proxies.nginx("first", directory, TWO_NGINX_PORT, front))
        pids |= stack.enter_context(proxies.product("node", "one", "two"))
        if arguments.only in (None, "small"):
            for key, title, script in (
                ("small", "small requests, wrk -t1 -c64", None),
                ("small_varied", "small requests, each for another path", directory / "each.lua"),
            ):
                per_cpu_second: dict[str, list[float]] = {label: [] for label in everyone}
                measure = functools.partial(_load, pids, arguments.seconds, script, per_cpu_second)
                small = take_turns(everyone, arguments.rounds, measure)
                ratios[key] = compare(title, small, unit="requests/s", higher_is_better=True)
                # What a core of its own would do: the rate above also counts how the proxies share the cores with load and backend.
                title = "the same, per second of the first proxy's own CPU time"
                ratios[f"{key}_cpu"] = compare(title, per_cpu_second, unit="requests", higher_is_better=True)
        if arguments.only in (None, "large"):
            _download_seconds(BACKEND_PORT, size)  # the first reading of the file is another one
            large = take_turns(everyone, arguments.rounds, lambda _, port: _download_seconds(port, size))
            ratios["large"] = compare(f"download of {arguments.gigabytes:g} GiB", large, unit="s", higher_is_better=False)
        if arguments.only in (None, "echo"):
            stack.enter_context(proxies.running([sys.executable, "-m", "benchmarks.proxies", "echo"], ECHO_PORT))
            echo_front = proxies.ECHO_FRONT.format(port=NGINX_ECHO_PORT, backend=ECHO_PORT)
            stack.enter_context(proxies.nginx("echo", directory, NGINX_ECHO_PORT, echo_front))
            echoes = take_turns(
                {"nginx": NGINX_ECHO_PORT, "one hop": PROXY_PORT, "two hops": TWO_HOP_PORT, "direct": ECHO_PORT},
                arguments.rounds,
                lambda _, port: _echo_microseconds(port, messages=1000),
            )
            ratios["echo"] = compare("WebSocket echo, there and back", echoes, unit="µs", higher_is_better=False)
    for by_name in ratios.values():
        if "two nginx" in by_name:
            by_name["two hops"] /= by_name.pop("two nginx")
    if arguments.json:
        print(json.dumps(ratios))


if __name__ == "__main__":
    main()
