"""Many paused sandboxes and some that run: what the paused ones cost the node, and what more of them do to a resume."""

from __future__ import annotations

import hashlib
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2b import Sandbox

from benchmarks.memory import used_mib
from benchmarks.pausing import memory_on_disk_mib
from benchmarks.report import Row, percentile
from tests.product.instance import Instance
from tests.product.inventory import sandbox_pids
from tests.product.processes import descendants, service_pid

_AT_ONCE = 3
_PROBES = 15
_LOOK_SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PROGRAM = """
import hashlib, sys
kept = bytes(range(256)) * 4096 + sys.argv[1].encode()
for line in sys.stdin:
    open("/home/user/answer", "w").write(hashlib.sha256(kept + line.strip().encode()).hexdigest())
"""


def measure_paused(instance: Instance, paused: int, running: int, sample: int) -> list[Row]:
    """Makes them, looks at the node, and resumes a random `sample`, each of which has to know its own secret."""
    made: dict[str, int] = {}
    try:
        alone = _resume_p50()
        idle_before, used_before, disk_before = _service_seconds(instance), used_mib(), memory_on_disk_mib(instance)
        started = time.perf_counter()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for sandbox_id, pid in pool.map(_make_and_pause, range(paused)):
                made[sandbox_id] = pid
        making = time.perf_counter() - started
        left = len(sandbox_pids(instance))
        time.sleep(2)
        used_paused, disk = used_mib(), memory_on_disk_mib(instance) - disk_before
        idle_paused = _service_seconds(instance)
        others = [Sandbox.create(timeout=3600) for _ in range(running)]
        made |= {other.sandbox_id: 0 for other in others}
        crowded = _resume_p50()
        chosen = random.sample([sandbox_id for sandbox_id, pid in made.items() if pid], sample)
        resumes = [_resume_and_ask(sandbox_id, made[sandbox_id]) for sandbox_id in chosen]
        alive = sum(other.commands.run("echo well").stdout == "well\n" for other in others)
    finally:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(Sandbox.kill, made))
    if alive != running or left:
        raise RuntimeError(f"{alive} of {running} answer, and {left} processes are left of paused ones")
    return [
        Row(f"processes of {paused} paused sandboxes", left, "", "0", "0", f"made and paused in {making:.0f} s, {_AT_ONCE} at a time"),
        Row("memory by the paused sandbox, page cache apart", (used_paused - used_before) / paused, "MiB", note="the services' own books"),
        Row("processor time of the services, none paused", idle_before * 1000, "ms/s"),
        Row(f"processor time of the services, {paused} paused", idle_paused * 1000, "ms/s"),
        Row("memory on disk by the paused sandbox", disk / paused, "MiB"),
        Row("connect on an empty node (SDK), p50", alone * 1000, "ms", note=f"{_PROBES} samples"),
        Row(f"connect with {paused} paused and {running} running, p50", crowded * 1000, "ms"),
        Row(f"that ÷ on an empty node, of {running} running", crowded / alone, "×"),
        Row(
            f"connect to {sample} of those, p50",
            percentile(resumes, 50) * 1000,
            "ms",
            note=f"p99 {percentile(resumes, 99) * 1000:.0f} ms; all right",
        ),
    ]


def _make_and_pause(number: int) -> tuple[str, int]:
    sandbox = Sandbox.create(timeout=3600)
    sandbox.files.write("/home/user/program.py", _PROGRAM)
    process = sandbox.commands.run(f"exec python3 program.py {sandbox.sandbox_id}", background=True, stdin=True, timeout=0)
    sandbox.files.write("/home/user/name", sandbox.sandbox_id)
    if not sandbox.pause():
        raise RuntimeError(f"{sandbox.sandbox_id} was paused already")
    return sandbox.sandbox_id, process.pid


def _resume_and_ask(sandbox_id: str, pid: int) -> float:
    started = time.perf_counter()
    sandbox = Sandbox.connect(sandbox_id, timeout=600)
    taken = time.perf_counter() - started
    sandbox.commands.send_stdin(pid, "question\n")
    wanted = hashlib.sha256(bytes(range(256)) * 4096 + sandbox_id.encode() + b"question").hexdigest()
    answer = sandbox.commands.run("until [ -s answer ]; do sleep 0.02; done; cat answer name").stdout
    if answer != wanted + sandbox_id:
        raise RuntimeError(f"{sandbox_id} answers {answer!r}")
    sandbox.pause()
    return taken


def _resume_p50() -> float:
    """Of one small sandbox that is paused and connected to again and again."""
    sandbox = Sandbox.create(timeout=3600)
    taken = []
    for _ in range(_PROBES + 1):
        sandbox.pause()
        started = time.perf_counter()
        Sandbox.connect(sandbox.sandbox_id, timeout=3600)
        taken.append(time.perf_counter() - started)
    sandbox.kill()
    return percentile(taken[1:], 50)


def _service_seconds(instance: Instance) -> float:
    """Processor seconds by the second that all processes of the services use while nobody asks anything."""
    pids = [service_pid(instance), *descendants(service_pid(instance))]
    before = sum(map(_ticks, pids))
    time.sleep(_LOOK_SECONDS)
    return (sum(map(_ticks, pids)) - before) / _TICKS / _LOOK_SECONDS


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
