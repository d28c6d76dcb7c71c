"""A gigabyte up and down through `/files`, next to nginx behind nginx that stores and serves the same file on the same machine."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from pathlib import Path

from e2b import Sandbox

from benchmarks import proxies
from benchmarks.report import Row
from benchmarks.turns import take_turns
from tests.product.instance import Instance

STORE_PORT = 22097
STORE_FRONT_PORT = 22098
_STORE = """
  server {{ listen 127.0.0.1:{port}; client_max_body_size 0; client_body_buffer_size 1m;
    location / {{ root {dir}/files; dav_methods PUT; create_full_put_path on; }} }}
"""
_BLOCK = b"\0" * (256 * 1024)


def measure_files(instance: Instance, rounds: int, gigabytes: float) -> list[Row]:
    """Ratios of durations: 1 means as fast as nginx."""
    size = int(gigabytes * 1024**3)
    product = instance.first_port + 2
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=instance.data_dir)))
        directory.chmod(0o777)
        (directory / "files").mkdir(mode=0o777)
        (directory / "files").chmod(0o777)
        stack.enter_context(proxies.nginx("store", directory, STORE_PORT, _STORE.format(port=STORE_PORT, dir=directory)))
        front = proxies.FRONT.format(port=STORE_FRONT_PORT, backend=STORE_PORT)
        stack.enter_context(proxies.nginx("store-front", directory, STORE_FRONT_PORT, front))
        sandbox = stack.enter_context(Sandbox.create(timeout=1800))
        agent = f"E2b-Sandbox-Id: {sandbox.sandbox_id}\r\nE2b-Sandbox-Port: 49983\r\nX-Access-Token: {sandbox._envd_access_token}\r\n"
        headers = {"nginx": "", "sandbank": agent}
        targets = {"nginx": "/large", "sandbank": "/files?path=/home/user/large"}
        upload = {"nginx": "PUT", "sandbank": "POST"}
        ports = {"nginx": STORE_FRONT_PORT, "sandbank": product}
        up = take_turns(ports, rounds, lambda name, port: _send(port, upload[name], targets[name], headers[name], size))
        down = take_turns(ports, rounds, lambda name, port: _receive(port, targets[name], headers[name], size))
    return [
        _row("upload of a file through /files ÷ nginx", up, gigabytes),
        _row("download of a file through /files ÷ nginx", down, gigabytes),
    ]


def _row(name: str, seconds: dict[str, list[float]], gigabytes: float) -> Row:
    # The best of each: what a disk that is written to by others adds is never negative.
    best = {label: min(values) for label, values in seconds.items()}
    note = ", ".join(f"{label} {value:.2f} s" for label, value in best.items()) + f" for {gigabytes:g} GiB"
    return Row(name, best["nginx"] / best["sandbank"], "×", "0.7", "1.0", note)


def _send(port: int, method: str, target: str, headers: str, size: int) -> float:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        started = time.perf_counter()
        head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
        sock.sendall(f"{head}Content-Length: {size}\r\nConnection: close\r\n{headers}\r\n".encode())
        left = size
        while left:
            block = _BLOCK if left >= len(_BLOCK) else _BLOCK[:left]
            sock.sendall(block)
            left -= len(block)
        answer = b""
        while data := sock.recv(65536):
            answer += data
        elapsed = time.perf_counter() - started
    if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201", b"HTTP/1.1 204")):
        raise RuntimeError(answer[:300])
    return elapsed


def _receive(port: int, target: str, headers: str, size: int) -> float:
    buffer = bytearray(1024 * 1024)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        started = time.perf_counter()
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n".encode())
        received = 0
        while count := sock.recv_into(buffer):
            received += count
        elapsed = time.perf_counter() - started
    if received < size:
        raise RuntimeError(f"{received} of {size} bytes: {bytes(buffer[:300])!r}")
    return elapsed
