"""Requests to the API alone: one process of it, over a node that runs sandboxes in name only.

Needs wrk. One connection tells how long a request takes, 32 tell how many the process can take; processor seconds are the API's own.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from benchmarks.proxies import cpu_seconds
from benchmarks.report import Row
from sandbank.domain.development import API_KEY
from tests.product.instance import Instance

API_PORT, NODE_PORT = 14100, 14101
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_POST = """
wrk.method = "POST"
wrk.body = '{"templateID":"base","timeout":600,"metadata":{"user":"u1"}}'
wrk.headers["Content-Type"] = "application/json"
"""


@contextlib.contextmanager
def hosts(sandboxes: int) -> Iterator[int]:
    """Both processes, with so many sandboxes running; the API's pid."""
    program = [sys.executable, "-m", "benchmarks.control_plane_host"]
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        pids = []
        for arguments in (["node", str(NODE_PORT), str(sandboxes)], ["api", directory, str(API_PORT), str(NODE_PORT)]):
            process = stack.enter_context(subprocess.Popen(program + arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            pids.append(process.pid)
        _wait_for_answers(sandboxes)
        yield pids[1]


def _wait_for_answers(sandboxes: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", API_PORT, timeout=10)
            connection.request("GET", "/v2/sandboxes?limit=1", headers={"X-API-Key": API_KEY})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200 and answer.headers["X-Total-Running"] == str(sandboxes):
                return
        time.sleep(0.1)
    raise RuntimeError("the API does not answer")


def load(pid: int, name: str, path: str, seconds: float, script: str = "") -> list[Row]:
    """Two runs of wrk."""
    rows = []
    for connections in (1, 32):
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(script)
            file.flush()
            before = cpu_seconds(pid)
            command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s", "-H", f"X-API-Key: {API_KEY}"]
            command += ["-s", file.name] if script else []
            output = subprocess.run([*command, f"http://127.0.0.1:{API_PORT}{path}"], check=True, capture_output=True, text=True).stdout
            used = cpu_seconds(pid) - before
        if "Non-2xx" in output or "Socket errors" in output:
            raise RuntimeError(output)
        rate = float(_found(r"Requests/sec:\s+([\d.]+)", output)[1])
        p50, p99 = (_milliseconds(_found(rf"{percent}%\s+([\d.]+)(us|ms|s)", output)) for percent in (50, 99))
        clients = f"{connections} client" + ("s" if connections > 1 else "")
        rows.append(Row(f"{name}, {clients}, p50", p50, "ms"))
        rows.append(Row(f"{name}, {clients}, p99", p99, "ms"))
        if connections > 1:
            rows.append(Row(f"{name}, requests a second", rate, "/s"))
            rows.append(Row(f"{name}, requests per processor second", rate * seconds / used, "/s"))
    return rows


def _found(pattern: str, output: str) -> re.Match[str]:
    match = re.search(pattern, output)
    assert match is not None, output
    return match


def _milliseconds(match: re.Match[str]) -> float:
    return float(match[1]) * _UNITS[match[2]]


def measure_api(_: Instance, seconds: int, sandboxes: Sequence[int]) -> list[Row]:
    """All of it, for one number of sandboxes after another; the installation is not needed."""
    rows = []
    for count in sandboxes:
        with hosts(count) as pid:
            some = f"/sandboxes/i{count // 2:020d}"
            rows += load(pid, f"{count:>6}: GET /sandboxes/ID", some, seconds)
            rows += load(pid, f"{count:>6}: GET /v2/sandboxes, 100 a page", "/v2/sandboxes", seconds)
            rows += load(pid, f"{count:>6}: the same of one user of 100", "/v2/sandboxes?metadata=user%3Du7", seconds)
            rows += load(pid, f"{count:>6}: GET /sandboxes, all", "/sandboxes", seconds)
    with hosts(0) as pid:
        rows += load(pid, "     0: POST /v2/sandboxes", "/v2/sandboxes", seconds, _POST)
    return rows
