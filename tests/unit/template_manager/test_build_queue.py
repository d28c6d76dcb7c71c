"""The builds of a node: accepted for good, ended once, begun again by the next process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from sandbank.domain.errors import ConflictError, NotFoundError
from sandbank.template_manager.adapters.order_directory import OrderDirectory
from sandbank.template_manager.core.build_log import BuildLog, LogEntry, LogPage
from sandbank.template_manager.core.build_queue import CANCELLED, INTERNAL, BuildQueue, BuildState
from sandbank.template_manager.core.order import V2_1, BuildOrder, Step
from sandbank.template_manager.core.phase_error import PhaseError


def order(build_id: str = "one", **changes: object) -> BuildOrder:
    fields = {"template_id": "tpl", "build_id": build_id, "team_id": "team", "scope": "team", "version": V2_1}
    sizes = {"vcpu": 2, "memory_mib": 512, "disk_mib": 1024, "image": "base", "credentials": {"type": "general", "password": "secret"}}
    return BuildOrder(**(fields | sizes | {"steps": (Step("RUN", ("true",)),)} | changes))  # type: ignore[arg-type]


class World:
    """A queue whose builds do what the test says."""

    def __init__(self, root: Path) -> None:
        self.orders = OrderDirectory(root)
        self.started: list[str] = []
        self.discarded: list[str] = []
        self.heard: list[str] = []
        self.published: dict[str, int] = {}
        self.failure: BaseException | None = None
        self.goes_on = asyncio.Event()
        self.queue = self.make()

    def make(self) -> BuildQueue:
        return BuildQueue(
            run=self._run,
            discard=self._discard,
            orders=self.orders,
            find_size=self.published.get,
            on_entry=lambda _, entry: self.heard.append(entry.message),
            at_once=2,
        )

    async def _run(self, wanted: BuildOrder, log: BuildLog) -> int:
        self.started.append(wanted.build_id)
        log.write("info", f"building {wanted.build_id}")
        await self.goes_on.wait()
        if self.failure is not None:
            raise self.failure
        self.published[wanted.build_id] = 7
        return 7

    async def _discard(self, build_id: str) -> None:
        self.discarded.append(build_id)

    async def ended(self, build_id: str = "one") -> BuildState:
        async with asyncio.timeout(5):
            while (state := self.queue.status(build_id, LogPage()).state) is BuildState.BUILDING:
                await asyncio.sleep(0.001)
        return state

    def lines(self, build_id: str = "one") -> Sequence[LogEntry]:
        return self.queue.status(build_id, LogPage()).entries


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_build_is_completed_and_then_known_by_what_it_made(world: World) -> None:
    await world.queue.accept(order())
    assert world.queue.status("one", LogPage()).state is BuildState.BUILDING
    assert [found.build_id for found in world.orders.load_all()] == ["one"]
    world.goes_on.set()
    assert await world.ended() is BuildState.COMPLETED
    assert (world.queue.status("one", LogPage()).size_mib, world.queue.status("one", LogPage()).disk_mib) == (7, 1024)
    await asyncio.sleep(0.05)
    assert world.orders.load_all() == []
    assert world.make().status("one", LogPage()).state is BuildState.COMPLETED
    await world.queue.stop()


@pytest.mark.parametrize(
    ("failure", "message", "step"),
    [
        (PhaseError("3", "failed to run command"), "failed to run command", "3"),
        (RuntimeError("a secret of ours"), INTERNAL, None),
        (TimeoutError(), "build timed out", None),
    ],
)
async def test_a_build_that_fails_says_what_its_author_can_use(world: World, failure: Exception, message: str, step: str | None) -> None:
    world.failure = failure
    world.goes_on.set()
    await world.queue.accept(order())
    assert await world.ended() is BuildState.FAILED
    told = world.queue.status("one", LogPage()).failure
    assert told is not None
    assert (told.message, told.step) == (message, step)
    assert world.lines()[-1].message == f"Build failed: {message}"
    await asyncio.sleep(0.05)
    assert world.discarded == ["one"]
    assert world.orders.load_all() == []
    await world.queue.stop()


async def test_a_build_is_accepted_once(world: World) -> None:
    await world.queue.accept(order())
    with pytest.raises(ConflictError):
        await world.queue.accept(order())
    await world.queue.stop()


async def test_a_cancelled_build_has_failed_and_is_gone(world: World) -> None:
    await world.queue.accept(order())
    await asyncio.sleep(0.01)
    await world.queue.cancel("one")
    status = world.queue.status("one", LogPage())
    assert (status.state, status.failure and status.failure.message) == (BuildState.FAILED, CANCELLED)
    assert "one" in world.discarded
    assert world.orders.load_all() == []
    await world.queue.cancel("one")
    await world.queue.cancel("never-heard-of")
    await world.queue.stop()


async def test_a_deleted_build_is_not_known_any_more(world: World) -> None:
    world.goes_on.set()
    await world.queue.accept(order())
    await world.ended()
    del world.published["one"]
    await world.queue.cancel("one")
    with pytest.raises(NotFoundError):
        world.queue.status("one", LogPage())
    await world.queue.stop()


async def test_what_a_stop_breaks_off_the_next_process_begins_again(world: World) -> None:
    await world.queue.accept(order())
    await world.queue.accept(order("two", steps=(Step("COPY", ("a", "b"), files_hash="c" * 64, force=True),)))
    await asyncio.sleep(0.01)
    await world.queue.stop()
    assert world.discarded == []
    kept = world.orders.load_all()
    assert kept == [order(), order("two", steps=(Step("COPY", ("a", "b"), files_hash="c" * 64, force=True),))]
    world.queue = world.make()
    world.queue.start()
    world.goes_on.set()
    assert await world.ended("one") is await world.ended("two") is BuildState.COMPLETED
    await world.queue.stop()


def test_orders_are_for_root_alone_and_damage_is_passed_over(tmp_path: Path) -> None:
    orders = OrderDirectory(tmp_path)
    orders.save(order())
    (tmp_path / "orders" / "damaged.json").write_text("{")
    assert (tmp_path / "orders" / "one.json").stat().st_mode & 0o777 == 0o600
    assert [found.build_id for found in orders.load_all()] == ["one"]
    assert "secret" not in repr(order())
