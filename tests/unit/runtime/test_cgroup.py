"""Finding hierarchies and writing limits, on trees of plain files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.domain.errors import InternalError
from sandbank.runtime.cgroup.group import Groups
from sandbank.runtime.cgroup.hierarchy import Hierarchy, find_hierarchy
from sandbank.runtime.driver import Limits

LIMITS = Limits(vcpu=2, memory_mib=512, disk_mib=1024, pids=100)
UNIFIED_FILES = ("memory.max", "memory.swap.max", "cpu.max", "pids.max", "cgroup.procs")
LEGACY_FILES = {
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"),
    "cpu": ("cpu.cfs_quota_us",),
    "pids": ("pids.max",),
}


def mountinfo(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def unified(tmp_path: Path, controllers: str) -> str:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text(controllers, encoding="ascii")
    return f"30 23 0:26 / {tmp_path}/unified rw - cgroup2 cgroup2 rw"


def test_version_2_is_found(tmp_path: Path) -> None:
    found = find_hierarchy(mountinfo(tmp_path, unified(tmp_path, "cpuset cpu io memory pids")))
    assert found == Hierarchy(tmp_path / "unified", {})
    assert found.missing == ()


def test_an_empty_version_2_beside_version_1_does_not_count(tmp_path: Path) -> None:
    found = find_hierarchy(
        mountinfo(
            tmp_path,
            unified(tmp_path, ""),
            "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
            "32 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
            "33 23 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids",
        )
    )
    assert found.unified is None
    assert found.legacy["cpu"] == found.legacy["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert found.missing == ()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    groups = Groups(find_hierarchy(mountinfo(tmp_path, "31 23 0:27 / /c/memory rw - cgroup cgroup rw,memory")), "parent")
    with pytest.raises(InternalError, match="cpu, pids"):
        groups.prepare()


def test_limits_on_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("", encoding="ascii")
    groups = Groups(Hierarchy(tmp_path, {}), "sandbank-t")
    (tmp_path / "sandbank-t").mkdir()
    (tmp_path / "sandbank-t" / "cgroup.subtree_control").write_text("", encoding="ascii")
    groups.prepare()
    assert (tmp_path / "sandbank-t" / "cgroup.subtree_control").read_text(encoding="ascii") == "+memory +cpu +pids"
    home = tmp_path / "sandbank-t" / "i1"
    home.mkdir()
    for name in UNIFIED_FILES:
        (home / name).touch()
    group = groups.group("i1")
    group.create(LIMITS)
    written = {name: (home / name).read_text(encoding="ascii") for name in UNIFIED_FILES}
    assert written == {
        "memory.max": str(512 << 20),
        "memory.swap.max": "0",
        "cpu.max": "200000 100000",
        "pids.max": "100",
        "cgroup.procs": "",
    }
    assert group.join_paths == [str(home / "cgroup.procs")]
    assert groups.names() == ["i1"]


def test_usage_on_version_2(tmp_path: Path) -> None:
    home = tmp_path / "p" / "i1"
    home.mkdir(parents=True)
    files = {
        "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
        "memory.current": "4096\n",
        "memory.stat": "anon 1\nfile 3000\nshmem 1000\nslab_reclaimable 48\n",
        "pids.current": "3\n",
    }
    for name, text in files.items():
        (home / name).write_text(text, encoding="ascii")
    usage = Groups(Hierarchy(tmp_path, {}), "p").group("i1").usage()
    assert (usage.cpu_seconds, usage.memory_bytes, usage.memory_cache_bytes, usage.pids) == (2.5, 4096, 2048, 3)


def test_usage_on_version_1(tmp_path: Path) -> None:
    """Files in tmpfs are no cache: nothing gives way."""
    directories = {name: tmp_path / name for name in ("cpuacct", "memory", "pids")}
    files = {
        "cpuacct/p/i1/cpuacct.usage": "2500000000\n",
        "memory/p/i1/memory.usage_in_bytes": "4096\n",
        "memory/p/i1/memory.stat": "cache 9\ntotal_cache 3000\ntotal_shmem 952\n",
        "pids/p/i1/pids.current": "3\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    usage = Groups(Hierarchy(None, directories), "p").group("i1").usage()
    assert (usage.cpu_seconds, usage.memory_bytes, usage.memory_cache_bytes, usage.pids) == (2.5, 4096, 2048, 3)


def test_limits_on_version_1(tmp_path: Path) -> None:
    groups = Groups(Hierarchy(None, {name: tmp_path / name for name in LEGACY_FILES}), "p")
    for name, files in LEGACY_FILES.items():
        home = tmp_path / name / "p" / "i1"
        home.mkdir(parents=True)
        for file in files:
            (home / file).touch()
    groups.group("i1").create(LIMITS)
    assert (tmp_path / "memory/p/i1/memory.limit_in_bytes").read_text(encoding="ascii") == str(512 << 20)
    assert (tmp_path / "memory/p/i1/memory.memsw.limit_in_bytes").read_text(encoding="ascii") == str(512 << 20)
    assert (tmp_path / "memory/p/i1/memory.kmem.tcp.limit_in_bytes").read_text(encoding="ascii") == str(128 << 20)
    assert (tmp_path / "cpu/p/i1/cpu.cfs_quota_us").read_text(encoding="ascii") == "200000"
    assert (tmp_path / "pids/p/i1/pids.max").read_text(encoding="ascii") == "100"


@pytest.mark.parametrize("is_unified", [True, False])
def test_freezing_and_thawing(tmp_path: Path, is_unified: bool) -> None:
    directory = tmp_path / "p" / "g"
    directory.mkdir(parents=True)
    names = ("cgroup.freeze", "cgroup.events") if is_unified else ("freezer.state",)
    for name in names:
        (directory / name).touch()
    group = Groups(Hierarchy(tmp_path, {}) if is_unified else Hierarchy(None, {"freezer": tmp_path}), "p").group("g")
    assert group.can_freeze
    group.freeze()
    assert (directory / names[0]).read_text() == ("1" if is_unified else "FROZEN")
    (directory / names[-1]).write_text("populated 1\nfrozen 1\n" if is_unified else "FROZEN\n")
    assert group.is_frozen()
    group.thaw()
    assert (directory / names[0]).read_text().rstrip() in ("0", "THAWED")


def test_version_1_without_the_freezer(tmp_path: Path) -> None:
    group = Groups(Hierarchy(None, {"memory": tmp_path}), "p").group("g")
    assert not group.can_freeze
    group.thaw()
