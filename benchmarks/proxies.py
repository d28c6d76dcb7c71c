"""The product's proxies and nginx side by side, in processes of their own, in front of the same backends.

Every nginx has one worker and keep-alive to its backend, as the product has one process and keep-alive.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

BACKEND_PORT = 22090
NGINX_PORT = 22091
PROXY_PORT = 22092
NODE_PORT = 22093
TWO_HOP_PORT = 22094
ECHO_PORT = 22095
NGINX_ECHO_PORT = 22096
TWO_NGINX_PORT = 22099
SANDBOX = "ibenchbenchbenchbench"

NGINX = """
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
BACKEND = """
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location /large/ {{ alias {dir}/; }}
    location / {{ return 200 "hello from the sandbox\\n"; }} }}
"""
FRONT = """
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; client_max_body_size 0; proxy_request_buffering off;
    location / {{ proxy_pass http://backend; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $http_host; }} }}
"""
ECHO_FRONT = """
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade; proxy_set_header Host $http_host; }} }}
"""


def host(port: int) -> str:
    """The Host of a request for a port of the one sandbox there is."""
    return f"{port}-{SANDBOX}.localhost"


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on `port` of loopback when this is entered, and ends when it is left."""
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


@contextlib.contextmanager
def nginx(name: str, directory: Path, port: int, body: str) -> Iterator[int]:
    """An nginx with this server in its configuration, and its pid; its files are in `directory`."""
    config = directory / f"{name}.conf"
    config.write_text(NGINX.format(dir=directory, name=name, body=body))
    with running(["nginx", "-p", str(directory), "-c", str(config), "-e", f"{directory}/{name}.log"], port) as process:
        yield process.pid


@contextlib.contextmanager
def product(*modes: str) -> Iterator[dict[int, int]]:
    """The product's proxies: `one` hop, `two` hops (which needs the `node` too); their pids by port."""
    ports = {"node": NODE_PORT, "one": PROXY_PORT, "two": TWO_HOP_PORT}
    with contextlib.ExitStack() as stack:
        yield {
            ports[mode]: stack.enter_context(running([sys.executable, "-m", "benchmarks.proxies", mode], ports[mode])).pid for mode in modes
        }


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _serve(mode: str) -> None:
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


async def _echo() -> None:
    from websockets.asyncio.server import ServerConnection, serve

    async def handle(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(handle, "127.0.0.1", ECHO_PORT, compression=None):
        await asyncio.Event().wait()


def main() -> None:
    """One of the processes."""
    import gc

    import uvloop

    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["one", "two", "node", "echo"])
    mode = parser.parse_args().mode
    gc.freeze()
    uvloop.run(_echo() if mode == "echo" else _serve(mode))


if __name__ == "__main__":
    main()
