"""Pause to disk and resume by the official SDK, by how much memory a process inside has, in turns with runc's checkpoint of the same."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from e2b import Sandbox

from benchmarks.checkpoints import runc_container
from benchmarks.report import Row, percentile
from tests.product.instance import Instance

WARM_UP = 1
_DONE = "/tmp/has"
_HOG = "import os,time; kept = os.urandom({} << 20); open('/tmp/has', 'w').close(); time.sleep(3600)"
_SMALL_MIB = 50  # what the design's numbers are about
_FEWER_FROM_MIB = 300


@dataclass
class _Samples:
    """Seconds, but for what is on disk."""

    pauses: list[float] = field(default_factory=list)
    resumes: list[float] = field(default_factory=list)
    checkpoints: list[float] = field(default_factory=list)
    synced: list[float] = field(default_factory=list)
    restores: list[float] = field(default_factory=list)
    disk_mib: float = 0.0


def measure_pause(instance: Instance, rounds: int, megabytes: tuple[int, ...]) -> list[Row]:
    """Each size in a sandbox and a container of its own, saved and brought back again and again.

    The data is random: nothing can compress it.
    """
    rows = []
    for size in megabytes:
        samples = _cycles(instance, rounds if size < _FEWER_FROM_MIB else max(2, rounds // 3), size)
        rows += _rows(size, samples)
    return rows


def measure_thaw(instance: Instance, rounds: int, megabytes: tuple[int, ...]) -> list[Row]:
    """The same where what is paused stays in memory too (ADR 0016): the installation is started again for it, and once more afterwards."""
    instance.down()
    keeping = dataclasses.replace(instance, paused_memory_percent=30.0)
    rows = []
    try:
        keeping.up()
        for size in megabytes:
            samples = _Samples()
            with _hog(size) as sandbox:
                for number in range(WARM_UP + rounds):
                    _pause_and_connect(keeping, sandbox, samples if number >= WARM_UP else _Samples())
            rows += [
                Row(f"pause with {size} MiB, staying in memory (SDK), p50", percentile(samples.pauses, 50) * 1000, "ms"),
                Row("  connect to that, thawed (SDK), p50", percentile(samples.resumes, 50) * 1000, "ms", note=f"{rounds} samples"),
            ]
    finally:
        keeping.down()
        instance.up()
    return rows


def _rows(size: int, samples: _Samples) -> list[Row]:
    pause, resume, checkpoint, synced, restore = (
        percentile(seconds, 50) * 1000
        for seconds in (samples.pauses, samples.resumes, samples.checkpoints, samples.synced, samples.restores)
    )
    hold, reach = (("300", "250"), ("100", "100")) if size <= _SMALL_MIB else (("", ""), ("", ""))
    note = f"{len(samples.pauses)} samples, page cache warm"
    return [
        Row(f"pause with {size} MiB in memory (SDK), p50", pause, "ms", hold[0], reach[0], note),
        Row("  runc checkpoint of the same, p50", checkpoint, "ms", note=f"{synced:.0f} ms until on disk, as Sandbank's is"),
        Row("  runc checkpoint, on disk ÷ pause", synced / pause, "×"),
        Row("  connect to that (SDK), p50", resume, "ms", hold[1], reach[1]),
        Row("  runc restore of the same, p50", restore, "ms"),
        Row("  runc restore ÷ connect", restore / resume, "×"),
        Row("  the snapshot's memory on disk", samples.disk_mib, "MiB"),
    ]


def _cycles(instance: Instance, rounds: int, size: int) -> _Samples:
    samples = _Samples()
    with _hog(size) as sandbox, runc_container(instance, _HOG.format(size), _DONE) as container:
        for number in range(WARM_UP + rounds):
            counted = samples if number >= WARM_UP else _Samples()
            _pause_and_connect(instance, sandbox, counted)
            done, synced = container.checkpoint()
            counted.checkpoints.append(done)
            counted.synced.append(synced)
            counted.restores.append(container.restore())
    return samples


@contextmanager
def _hog(size: int) -> Iterator[Sandbox]:
    sandbox = Sandbox.create(timeout=3600)
    try:
        sandbox.commands.run(f'python3 -c "{_HOG.format(size)}"', background=True, timeout=0)
        sandbox.commands.run(f"until [ -e {_DONE} ]; do sleep 0.05; done", timeout=120)
        yield sandbox
    finally:
        sandbox.kill()


def _pause_and_connect(instance: Instance, sandbox: Sandbox, samples: _Samples) -> None:
    started = time.perf_counter()
    sandbox.pause()
    samples.pauses.append(time.perf_counter() - started)
    samples.disk_mib = newest_on_disk_mib(instance)
    started = time.perf_counter()
    Sandbox.connect(sandbox.sandbox_id, timeout=3600)
    samples.resumes.append(time.perf_counter() - started)


def newest_on_disk_mib(instance: Instance) -> float:
    """Of the snapshot made last, its memory only: files share their blocks with the sandbox's."""
    found = []
    for path in _snapshots(instance):
        with suppress(FileNotFoundError):  # one that this one has made superfluous
            found.append((path.stat().st_mtime, _size_mib(path)))
    return max(found, default=(0, 0.0))[1]


def memory_on_disk_mib(instance: Instance) -> float:
    """The same, of all snapshots there are."""
    return sum(map(_size_mib, _snapshots(instance)))


def _snapshots(instance: Instance) -> list[Path]:
    return list(Path(instance.data_dir, "sandboxes", ".snapshots").glob("[!.]*"))


def _size_mib(snapshot: Path) -> float:
    try:
        return sum(image.stat().st_blocks for image in (snapshot / "memory").iterdir()) * 512 / 2**20
    except FileNotFoundError:
        return 0.0  # an older one, which is removed behind the answer
