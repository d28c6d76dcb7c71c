"""Which of the paused sandboxes stay in memory, and which give way (ADR 0016)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandbank.runtime.cgroup.group import Usage
from sandbank.runtime.drivers.namespaces.frozen import FrozenCache
from sandbank.runtime.drivers.namespaces.running import Running

_GIB = 1 << 30


class _Machine:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.ended: list[str] = []
        self.set_available(8)

    def set_available(self, gib: float) -> None:
        self.path.write_text(f"MemTotal: {10 << 20} kB\nMemFree: 1 kB\nMemAvailable: {int(gib * (1 << 20))} kB\n")

    async def end(self, running: Running) -> None:
        self.ended.append(running.record.sandbox_id)

    def cache(self, share: float = 0.5, slots: int = 80) -> FrozenCache:
        return FrozenCache(share, slots, self.end, self.path)


@pytest.fixture
def machine(tmp_path: Path) -> _Machine:
    return _Machine(tmp_path / "meminfo")


def _sandbox(name: str, gib: float = 1) -> Running:
    group: Any = SimpleNamespace(usage=lambda: Usage(0.0, int(gib * _GIB), 0, 1))
    return cast("Running", SimpleNamespace(record=SimpleNamespace(sandbox_id=name), group=group))


async def test_the_longest_frozen_give_way_to_the_share(machine: _Machine) -> None:
    cache = machine.cache()
    for number in range(7):
        await cache.add(f"s{number}", _sandbox(f"{number}"))
    assert machine.ended == ["0", "1"]
    await cache.add("large", _sandbox("large", 6))
    assert machine.ended == ["0", "1", "2", "3", "4", "5", "6", "large"]


async def test_all_give_way_when_little_is_available(machine: _Machine) -> None:
    cache = machine.cache()
    await cache.add("s", _sandbox("one"))
    machine.set_available(0.9)
    await cache.make_room()
    assert machine.ended == ["one"]


async def test_no_more_than_an_eighth_of_the_slots(machine: _Machine) -> None:
    cache = machine.cache(slots=17)
    for number in range(3):
        await cache.add(f"s{number}", _sandbox(f"{number}", 0.1))
    assert machine.ended == ["0"]
    assert not machine.cache(slots=7).is_on
    assert not machine.cache(share=0).is_on


async def test_only_the_same_sandbox_takes_it_and_once(machine: _Machine) -> None:
    cache, running = machine.cache(), _sandbox("one")
    await cache.add("s", running)
    assert cache.take("s", "other") is None
    assert cache.take("t", "one") is None
    assert cache.take(None, "one") is None
    assert cache.take("s", "one") is running
    assert cache.take("s", "one") is None
    await cache.clear()
    assert machine.ended == []


async def test_whoever_needs_the_name_waits_until_it_is_gone(machine: _Machine) -> None:
    cache, leaving = machine.cache(), asyncio.Event()
    steps: list[str] = []

    async def end(running: Running) -> None:
        await leaving.wait()
        steps.append("gone")

    cache._end = end
    await cache.add("s", _sandbox("one"))
    removing = asyncio.ensure_future(cache.remove("s"))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(cache.wait_gone("one"))
    await cache.wait_gone("other")
    await asyncio.sleep(0)
    assert not waiting.done()
    leaving.set()
    await waiting
    assert steps == ["gone"]
    await removing
    await cache.wait_gone("one")


async def test_removal_by_either_name(machine: _Machine) -> None:
    cache = machine.cache()
    for name in ("one", "two", "three"):
        await cache.add(f"s-{name}", _sandbox(name))
    await cache.remove("s-one")
    await cache.remove("s-one")
    await cache.remove_sandbox("two")
    await cache.remove_sandbox("s-three")
    assert machine.ended == ["one", "two"]
    await cache.clear()
    assert machine.ended == ["one", "two", "three"]
