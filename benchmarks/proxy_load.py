"""Small requests and a long download through the client proxy, side by side with nginx in front of the same backend.

    python benchmarks/proxy_load.py [--rounds 5] [--seconds 4] [--gigabytes 1]

Both proxies have one worker and keep-alive to the backend, which is another nginx that answers from memory. They take turns, because the
machine's mood changes by the second; the printed ratio is that of the medians. Needs nginx and wrk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

BACKEND_PORT = 22090
NGINX_PORT = 22091
PROXY_PORT = 22092
NODE_PORT = 22093
TWO_HOP_PORT = 22094
SANDBOX = "ibenchbenchbenchbench"

_NGINX = """
daemon off; master_process off; pid {dir}/{name}.pid; error_log {dir}/{name}.log error;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000;
  proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
  client_body_temp_path {dir}/{name}-body; proxy_temp_path {dir}/{name}-proxy; fastcgi_temp_path {dir}/{name}-f;
  uwsgi_temp_path {dir}/{name}-u; scgi_temp_path {dir}/{name}-s;
  {body}
}}
"""
_BACKEND = """
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location /large/ {{ alias {dir}/; }}
    location / {{ return 200 "hello from the sandbox\\n"; }} }}
"""
_FRONT = """
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://backend; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $http_host; }} }}
"""


async def _serve(mode: str) -> None:
    """The product's client proxy: in one hop as in the embedded mode, or in two over a node's proxy."""
    from datetime import UTC, datetime

    from sandbank.client_proxy.settings import ClientProxySettings
    from sandbank.client_proxy.wiring import build
    from sandbank.proxy.routes import LocalRoute, RouteTable
    from sandbank.proxy.server import sandbox_proxy
    from sandbank.state.catalog import CatalogEntry, MemoryCatalog

    def dial(port: int) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))
        return sock

    routes = RouteTable()
    routes.add(LocalRoute(SANDBOX, "execution", dial, None, None))
    catalog = MemoryCatalog()
    await catalog.put(CatalogEntry(SANDBOX, "execution", "node", "127.0.0.1", datetime.now(UTC), 24))
    if mode == "node":
        await sandbox_proxy(routes, host="127.0.0.1", port=NODE_PORT).start()
    else:
        settings = ClientProxySettings(
            client_proxy_port=PROXY_PORT if mode == "one" else TWO_HOP_PORT,
            health_port=None,
            edge_port=None,
            orchestrator_proxy_port=NODE_PORT,
        )
        await build(settings, routes=routes if mode == "one" else None, catalog=catalog).start()
    await asyncio.Event().wait()


def _main_server(mode: str) -> None:
    import gc

    import uvloop

    gc.freeze()
    uvloop.run(_serve(mode))


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            raise RuntimeError(f"nothing listens on {port}: {command}")
        yield process
    finally:
        process.terminate()
        process.wait()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


_EACH_ANOTHER = """
local count = 0
request = function() count = count + 1; return wrk.format(nil, "/" .. count) end
"""


def _requests_per_second(port: int, seconds: float, script: Path | None = None) -> float:
    host = f"{BACKEND_PORT}-{SANDBOX}.localhost"
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-H", f"Host: {host}", f"http://127.0.0.1:{port}/"]
    if script is not None:
        command += ["-s", str(script)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert match is not None, output
    return float(match[1])


def _download_seconds(port: int, size: int) -> float:
    buffer = bytearray(1024 * 1024)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        started = time.perf_counter()
        sock.sendall(f"GET /large/large HTTP/1.1\r\nHost: {BACKEND_PORT}-{SANDBOX}.localhost\r\nConnection: close\r\n\r\n".encode())
        received = 0
        while count := sock.recv_into(buffer):
            received += count
        elapsed = time.perf_counter() - started
    if received < size:
        raise RuntimeError(f"{received} of {size} bytes")
    return elapsed


def _load(
    pids: dict[int, int], seconds: float, script: Path | None, per_cpu_second: dict[str, list[float]], label: str, port: int
) -> float:
    before = _cpu_seconds(pids[port])
    rate = _requests_per_second(port, seconds, script)
    per_cpu_second[label].append(rate * seconds / (_cpu_seconds(pids[port]) - before))
    return rate


def _take_turns(ports: dict[str, int], rounds: int, measure: Callable[[str, int], float]) -> dict[str, list[float]]:
    results: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(rounds):
        for name, port in ports.items():
            results[name].append(measure(name, port))
    return results


def _report(title: str, results: dict[str, list[float]], *, unit: str, higher_is_better: bool) -> dict[str, float]:
    print(f"\n{title}")
    reference = statistics.median(results["nginx"])
    ratios = {}
    for name, values in results.items():
        median = statistics.median(values)
        ratios[name] = median / reference if higher_is_better else reference / median
        print(
            f"  {name:10} median {median:10.2f} {unit}   ratio {ratios[name]:.2f}   rounds {' '.join(f'{value:.2f}' for value in values)}"
        )
    return ratios


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--only", choices=["small", "large"])
    parser.add_argument("--json", action="store_true", help="print the ratios as the last line")
    parser.add_argument("--serve", choices=["one", "two", "node"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _main_server(arguments.serve)
        return
    for program in ("nginx", "wrk"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed")
    ratios: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="sandbank-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        pids: dict[int, int] = {}
        directory.chmod(0o755)
        size = int(arguments.gigabytes * 1024**3)
        with (directory / "large").open("wb") as file:
            file.truncate(size)
        (directory / "each.lua").write_text(_EACH_ANOTHER)
        for label, body, port in (
            ("backend", _BACKEND.format(port=BACKEND_PORT, dir=name), BACKEND_PORT),
            ("front", _FRONT.format(port=NGINX_PORT, backend=BACKEND_PORT), NGINX_PORT),
        ):
            config = directory / f"{label}.conf"
            config.write_text(_NGINX.format(dir=name, name=label, body=body))
            command = ["nginx", "-p", name, "-c", str(config), "-e", f"{name}/{label}.log"]
            pids[port] = stack.enter_context(_running(command, port)).pid
        for mode, port in (("node", NODE_PORT), ("one", PROXY_PORT), ("two", TWO_HOP_PORT)):
            pids[port] = stack.enter_context(_running([sys.executable, __file__, "--serve", mode], port)).pid
        if arguments.only != "large":
            for key, title, script in (
                ("small", "small requests, wrk -t1 -c64", None),
                ("small_varied", "small requests, each for another path", directory / "each.lua"),
            ):
                per_cpu_second: dict[str, list[float]] = {"nginx": [], "one hop": []}
                measure = functools.partial(_load, pids, arguments.seconds, script, per_cpu_second)
                small = _take_turns({"nginx": NGINX_PORT, "one hop": PROXY_PORT}, arguments.rounds, measure)
                ratios[key] = _report(title, small, unit="requests/s", higher_is_better=True)
                # What a core of its own would do: the rate above also counts how the proxies share the cores with load and backend.
                title = "the same, per second of the proxy's own CPU time"
                ratios[f"{key}_cpu"] = _report(title, per_cpu_second, unit="requests", higher_is_better=True)
        if arguments.only != "small":
            _download_seconds(BACKEND_PORT, size)  # the first reading of the file is another one
            large = _take_turns(
                {"nginx": NGINX_PORT, "one hop": PROXY_PORT, "two hops": TWO_HOP_PORT},
                arguments.rounds,
                lambda _, port: _download_seconds(port, size),
            )
            ratios["large"] = _report(f"download of {arguments.gigabytes:g} GiB", large, unit="s", higher_is_better=False)
    if arguments.json:
        print(json.dumps(ratios))


if __name__ == "__main__":
    main()
