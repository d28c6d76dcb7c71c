"""The sandbox's usage, as either version of cgroups tells it (data-plane contract §4.3, ADR 0005)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sandbank.envd import usage
from sandbank.envd.meminfo import render

MIB = 1 << 20
LIMIT = 512 * MIB


def place(monkeypatch: pytest.MonkeyPatch, top: Path, files: dict[str, str]) -> None:
    for name in ("_CGROUP_V2", "_CGROUP_V1", "_ACCOUNTING_V1", "_QUOTA"):
        monkeypatch.setattr(usage, name, str(top / name))
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_version_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stat = f"anon {100 * MIB}\nfile {80 * MIB}\nshmem {30 * MIB}\nslab_reclaimable {5 * MIB}\n"
    files = {"memory.max": f"{LIMIT}\n", "memory.current": f"{200 * MIB}\n", "memory.stat": stat, "cpu.stat": "usage_usec 1500000\n"}
    place(monkeypatch, tmp_path, {f"_CGROUP_V2/{name}": text for name, text in files.items()})
    assert usage.memory(LIMIT) == usage.Memory(used=145 * MIB, cached=50 * MIB, shared=30 * MIB)
    assert usage.cpu_seconds(LIMIT) == 1.5


def test_version_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stat = f"cache 1\ntotal_cache {80 * MIB}\ntotal_shmem {30 * MIB}\n"
    files = {"memory.limit_in_bytes": f"{LIMIT}\n", "memory.usage_in_bytes": f"{200 * MIB}\n", "memory.stat": stat}
    place(monkeypatch, tmp_path, {f"_CGROUP_V1/{name}": text for name, text in files.items()} | {"_ACCOUNTING_V1": "2500000000\n"})
    assert usage.memory(LIMIT) == usage.Memory(used=150 * MIB, cached=50 * MIB, shared=30 * MIB)
    assert usage.cpu_seconds(LIMIT) == 2.5


def test_a_group_without_this_limit_is_the_machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {"memory.limit_in_bytes": str(2**63), "memory.usage_in_bytes": str(400 * MIB)}
    place(monkeypatch, tmp_path, {f"_CGROUP_V1/{name}": text for name, text in files.items()})
    monkeypatch.setattr(usage, "_processes", lambda: iter(("self",)))
    assert usage.cpu_seconds(LIMIT) > 0
    # This process may have grown beyond any limit by now.
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as small:
        monkeypatch.setattr(usage, "_processes", lambda: iter((str(small.pid),)))
        assert 0 < usage.memory(LIMIT).used < 400 * MIB


def test_disk_by_quota_or_by_file_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place(monkeypatch, tmp_path, {"_QUOTA/max_referenced": "1000\n", "_QUOTA/referenced": "300\n", "_QUOTA/rsv_data": "50\n"})
    assert usage.disk() == (1000, 350)
    (tmp_path / "_QUOTA" / "max_referenced").unlink()
    total, used = usage.disk()
    assert 0 < used < total


def test_meminfo_adds_up() -> None:
    text = render(LIMIT, usage.Memory(used=145 * MIB, cached=50 * MIB, shared=30 * MIB)).decode()
    fields = {line.split(":")[0]: int(line.split()[1]) << 10 for line in text.splitlines()}
    assert all(line.endswith(" kB") for line in text.splitlines())
    assert (fields["MemTotal"], fields["MemAvailable"], fields["MemFree"]) == (LIMIT, LIMIT - 145 * MIB, LIMIT - 195 * MIB)
    assert (fields["Cached"], fields["Shmem"], fields["SwapTotal"]) == (80 * MIB, 30 * MIB, 0)
