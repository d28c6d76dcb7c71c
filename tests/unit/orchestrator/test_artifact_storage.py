"""What a node has is stored, again and again until it is; what it lacks it gets (design: artefacts)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from sandbank.artifacts.builds import Build, BuildStore
from sandbank.artifacts.remote import Remote
from sandbank.domain.errors import ConflictError, UnavailableError
from sandbank.orchestrator.adapters import artifact_storage
from sandbank.orchestrator.adapters.artifact_storage import ArtifactStorage
from tests.unit.orchestrator.memory_driver import MemoryDriver
from tests.unit.orchestrator.node import Node, new_order


class _Remote(Remote):
    """Storage that is away now and then."""

    def __init__(self, url: str = "") -> None:
        super().__init__(MemoryStore(), url)
        self.failures = 0

    def put(self, key: str, content: bytes | Iterable[bytes]) -> None:
        if self.failures:
            self.failures -= 1
            raise UnavailableError("storage is away")
        super().put(key, content)


class _World:
    """Nodes, by directory, around one storage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remote = _Remote()
        self.errors: list[BaseException] = []
        self.started: list[ArtifactStorage] = []

    def node(self, name: str, driver: MemoryDriver | None = None) -> tuple[ArtifactStorage, BuildStore]:
        builds = BuildStore(self.path / name / "artifacts")
        storage = ArtifactStorage(
            self.remote, driver or MemoryDriver(), builds, self.path / name, lambda _, error: self.errors.append(error)
        )
        storage.start()
        self.started.append(storage)
        return storage, builds

    def publish(self, builds: BuildStore, build_id: str) -> None:
        layer = builds.layers_dir / f"layer-{build_id}"
        layer.mkdir(parents=True)
        (layer / "file").write_text(build_id)
        builds.publish(Build(build_id, "template", (layer,), env_vars={"A": "1"}, envd_version="0.6.13", size_mib=3))

    async def stored(self, *build_ids: str) -> None:
        async with asyncio.timeout(10):
            while {Path(key).stem for key in self.remote.list("builds/")} != set(build_ids):
                await asyncio.sleep(0.005)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_World]:
    monkeypatch.setattr(artifact_storage, "_SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(artifact_storage, "_FIRST_PAUSE_SECONDS", 0.01)
    world = _World(tmp_path)
    yield world
    for storage in world.started:
        await storage.stop()
    assert world.errors == []


async def test_a_template_made_on_one_node_is_on_another_when_it_is_wanted(world: _World) -> None:
    first, builds = world.node("first")
    world.publish(builds, "b1")
    first.keep("b1")
    await world.stored("b1")
    second, others = world.node("second")
    assert await asyncio.gather(*(second.fetch("b1") for _ in range(5))) == [True] * 5
    found = others.find("b1")
    assert found is not None
    assert (found.template_id, found.env_vars, found.size_mib) == ("template", {"A": "1"}, 3)
    assert (found.layers[0] / "file").read_text() == "b1"
    assert not await second.fetch("absent")


async def test_what_is_shared_can_be_had_by_others_at_once_though_storage_was_away(world: _World) -> None:
    first, builds = world.node("first")
    world.publish(builds, "b1")
    world.remote.failures = 2
    await first.share("b1")
    second, _ = world.node("second")
    assert await second.fetch("b1")


async def test_what_another_node_is_about_to_store_is_waited_for(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_storage, "_SOON_PAUSES", (0.01,) * 500)
    first, builds = world.node("first")
    second, _ = world.node("second")
    waiting = asyncio.create_task(second.fetch_soon("b1"))
    await asyncio.sleep(0.05)
    world.publish(builds, "b1")
    first.keep("b1")
    assert await waiting
    monkeypatch.setattr(artifact_storage, "_SOON_PAUSES", (0.01,))
    assert not await second.fetch_soon("absent")


async def test_storage_that_stays_away_is_waited_for_so_long_and_gets_it_later(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_storage, "_SHARE_SECONDS", 0.0)
    first, builds = world.node("first")
    world.publish(builds, "b1")
    world.remote.failures = 3
    with pytest.raises(UnavailableError, match="could not be stored where other nodes find it: storage is away"):
        await first.share("b1")
    await world.stored("b1")


async def test_storage_that_is_away_is_tried_again_and_so_is_what_an_earlier_process_left(world: _World) -> None:
    world.remote.failures = 3
    first, builds = world.node("first")
    world.publish(builds, "b1")
    first.keep("b1")
    await world.stored("b1")
    await first.stop()
    world.publish(builds, "b2")  # and nobody is told
    world.node("first")
    await world.stored("b1", "b2")


async def test_other_storage_gets_all_that_there_is(world: _World) -> None:
    first, builds = world.node("first")
    world.publish(builds, "b1")
    first.keep("b1")
    await world.stored("b1")
    async with asyncio.timeout(5):
        while not list((world.path / "first" / "artifacts" / "stored").glob("*/b1")):
            await asyncio.sleep(0.005)
    await first.stop()
    world.remote = _Remote("s3://elsewhere")
    world.node("first")
    await world.stored("b1")


async def test_what_nobody_needs_is_removed_also_amid_being_stored(world: _World) -> None:
    driver = MemoryDriver()
    node = Node(driver)
    await node.start()
    sandbox = await node.creation.create(new_order())
    storage, _ = world.node("first", driver)
    await driver.checkpoint(sandbox.sandbox_id, "s1")
    storage.keep("s1")
    await world.stored("s1")
    await driver.remove_snapshot("s1")
    storage.forget("s1")
    await world.stored()
    await driver.checkpoint(sandbox.sandbox_id, "s2")
    storage.keep("s2")
    await driver.remove_snapshot("s2")
    await asyncio.sleep(0.1)
    await world.stored()
    await node.creation.create(new_order())  # what cannot be stored does not keep others from it
    await node.stop()


async def test_a_node_resumes_what_another_has_saved() -> None:
    node = Node(MemoryDriver())
    await node.start()
    order = new_order(build_id="elsewhere", resumes=True)
    with pytest.raises(ConflictError, match="not found"):
        await node.creation.create(order)
    sandbox = await node.creation.create(new_order())
    await node.pausing.checkpoint(sandbox.sandbox_id, "here")
    node.driver.kernel.shared["elsewhere"] = node.driver.kernel.snapshots["here"]
    node.driver.kernel.without_memory.add("elsewhere")
    assert (await node.creation.create(order)).sandbox_id == order.sandbox_id
    assert node.creation.boots(order), "which nobody here knew before"
    await node.pausing.pause(order.sandbox_id, "again")
    assert (await node.pausing.saved(shared=False), await node.pausing.saved(shared=True)) == (
        {"build", "here", "elsewhere", "again"},
        {"elsewhere"},
    )
    await node.pausing.forget("here")
    assert (node.artifacts.kept, node.artifacts.forgotten) == (["here", "again"], ["here"])
    await node.stop()


async def test_parts_that_no_build_needs_go_from_storage_in_the_background(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_storage, "_SWEEP_SECONDS", 0.02)
    storage, builds = world.node("first")
    for build_id in ("b1", "b2"):
        world.publish(builds, build_id)
        storage.keep(build_id)
    await world.stored("b1", "b2")
    storage.forget("b1")
    async with asyncio.timeout(10):
        while any("layer-b1" in key for key in world.remote.list("")):
            await asyncio.sleep(0.01)
    assert len(world.remote.list("layers/layer-b2")) == 1
