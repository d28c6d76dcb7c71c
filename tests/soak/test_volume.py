"""Five gigabytes up and down through client proxy, sandbox proxy and agent: intact, and with memory that stays flat."""

from __future__ import annotations

import itertools
import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from e2b import Sandbox

from tests.product.instance import Instance
from tests.product.processes import command_of, descendants, service_pid

BYTES = int(float(os.environ.get("SANDBANK_VOLUME_GIB", "5")) * 1024**3)
BLOCK_BYTES = 1024 * 1024
GROWTH_LIMIT_MIB = 100
READER_PAUSES_SECONDS = float(os.environ.get("SANDBANK_READER_PAUSES_SECONDS", "60"))
_NOISE = random.Random(20261122).randbytes(BLOCK_BYTES)


def blocks() -> Iterator[bytes]:
    """The file: noise that nothing compresses, and each block numbered, so that none can be lost, doubled or out of order."""
    for number in range(BYTES // BLOCK_BYTES):
        yield number.to_bytes(8, "big") + _NOISE[8:]


class Peak:
    """The most memory a process has used since this was made, beyond what it used then; MiB."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the high-water mark starts anew
        self._before = self._read("VmRSS")

    def growth_mib(self) -> int:
        return (self._read("VmHWM") - self._before) // 1024

    def _read(self, key: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


@contextmanager
def client_proxy(server: Instance, sandbox_id: str) -> Iterator[tuple[str, int]]:
    """A client proxy apart from the node; yields its URL and pid."""
    port = server.first_port + 9
    command = [sys.executable, "-m", "tests.soak.separate_proxy", str(port), str(server.first_port + 2007), sandbox_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "serving\n"
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.kill()


@pytest.fixture
def sandbox(server: Instance) -> Iterator[Sandbox]:
    """One that lives long enough."""
    made = Sandbox.create(timeout=1800)
    yield made
    made.kill()


def agent_pid(server: Instance, sandbox: Sandbox) -> int:
    """The agent of a sandbox: what its pid 1 has forked."""
    record = json.loads((server.data_dir / "sandboxes" / sandbox.sandbox_id / "runtime.json").read_text())
    return next(pid for pid in descendants(record["pid"]) if command_of(pid).startswith("envd"))


def test_five_gigabytes_pass_both_proxies_intact_and_in_flat_memory(server: Instance, sandbox: Sandbox) -> None:
    """Issue of the data plane: within 100 MiB in each process, and identical bytes (contract data-plane §4.4, §4.5, §7.3)."""
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983", "X-Access-Token": sandbox._envd_access_token or ""}
    parameters = {"path": "/home/user/large"}
    with client_proxy(server, sandbox.sandbox_id) as (url, proxy_pid):
        peaks = [
            Peak("client proxy", proxy_pid),
            Peak("node", service_pid(server)),
            Peak("agent", agent_pid(server, sandbox)),
        ]
        with httpx.Client(base_url=url, headers=headers, timeout=600, trust_env=False) as client:
            raw = {"Content-Type": "application/octet-stream", "Content-Length": str(BYTES)}
            stored = client.post("/files", params=parameters, headers=raw, content=blocks())
            assert stored.status_code == 200, stored.text
            assert stored.json() == [{"path": "/home/user/large", "name": "large", "type": "file"}]
            with client.stream("GET", "/files", params=parameters, headers={"Accept-Encoding": "identity"}) as answer:
                assert answer.status_code == 200
                assert answer.headers["Content-Length"] == str(BYTES)
                expected = blocks()
                for received in answer.iter_bytes(BLOCK_BYTES):
                    assert received == next(expected), "another block than was sent"
                assert next(expected, None) is None, "the download ended early"
        growth = {peak.name: peak.growth_mib() for peak in peaks}
    assert all(mib < GROWTH_LIMIT_MIB for mib in growth.values()), growth
    print(f"growth in MiB: {growth}")


def test_a_gigabyte_of_output_waits_for_a_reader_that_stops(server: Instance, sandbox: Sandbox) -> None:
    """The command waits for its reader, nothing grows meanwhile, and all of it arrives (contract data-plane §2.6)."""
    total = BYTES // 5
    command = f"head -c {total} /dev/zero | tee /dev/stderr >/dev/null"
    start = json.dumps({"process": {"cmd": "/bin/bash", "args": ["-c", command]}, "stdin": False}).encode()
    headers = {
        "E2b-Sandbox-Id": sandbox.sandbox_id,
        "E2b-Sandbox-Port": "49983",
        "X-Access-Token": sandbox._envd_access_token or "",
        "Content-Type": "application/connect+json",
        "Keepalive-Ping-Interval": "1",
    }
    with client_proxy(server, sandbox.sandbox_id) as (url, proxy_pid):
        peaks = [Peak("client proxy", proxy_pid), Peak("node", service_pid(server)), Peak("agent", agent_pid(server, sandbox))]
        with httpx.Client(base_url=url, headers=headers, timeout=600, trust_env=False) as client:
            body = struct.pack(">BI", 0, len(start)) + start
            with client.stream("POST", "/process.Process/Start", content=body) as answer:
                received = answer.iter_raw()
                seen = [next(received)]
                time.sleep(READER_PAUSES_SECONDS)
                assert all(peak.growth_mib() < GROWTH_LIMIT_MIB for peak in peaks), {peak.name: peak.growth_mib() for peak in peaks}
                assert sandbox.commands.run("echo fine").stdout == "fine\n", "others have to wait for the slow reader"
                count, end = _count_output(itertools.chain(seen, received))
        growth = {peak.name: peak.growth_mib() for peak in peaks}
    assert count == total
    assert end == {"exited": True, "status": "exit status 0"}
    assert all(mib < GROWTH_LIMIT_MIB for mib in growth.values()), growth


def _count_output(pieces: Iterator[bytes]) -> tuple[int, dict[str, object]]:
    """Bytes of standard error in a whole stream of envelopes, and its end event."""
    buffer, count = b"", 0
    end: dict[str, object] = {}
    for piece in pieces:
        buffer += piece
        while len(buffer) >= 5 and len(buffer) >= 5 + (size := int.from_bytes(buffer[1:5], "big")):
            message = json.loads(buffer[5 : 5 + size])
            buffer = buffer[5 + size :]
            event = message.get("event", {})
            encoded = event.get("data", {}).get("stderr", "")
            count += len(encoded) * 3 // 4 - encoded.count("=")
            end = event.get("end", end)
    assert buffer == b""
    return count, end
