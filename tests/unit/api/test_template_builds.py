"""Builds of templates where time passes and nodes fail (contract templates-and-data §1.4–§1.6)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.build_log_store import BuildLogStore
from sandbank.api.core.builders import BuildLine, BuildProgress, LinePage, NoBuilderError
from sandbank.api.core.default_templates import DefaultFile, DefaultState, DefaultTemplate, DefaultTemplates
from sandbank.api.core.team import Team
from sandbank.api.core.template_build import BuildReason, BuildRequest, BuildResult, BuildState
from sandbank.api.core.template_progress import BuildFollower
from sandbank.api.core.template_recipe import BuildRecipe
from sandbank.api.core.template_request import BuildRequester, BuildWish
from sandbank.api.core.template_start import BuildStarter
from sandbank.api.core.template_status import BuildReader, LogQuestion
from sandbank.api.core.user_agent import build_version
from sandbank.domain.errors import DeadlineError, InternalError, InvalidError, NotFoundError, SandbankError, UnavailableError
from sandbank.domain.log_query import LogEntry, LogStore
from tests.unit.api.fakes import FakeClock, FakeTemplates
from tests.unit.api.made import NOON, TEAM
from tests.unit.api.template_fakes import FakeBuilders, FakeBuilds, FakeLogStore

RECIPE = BuildRecipe(image="debian")
READY = BuildProgress(BuildState.READY, BuildResult(100, "0.6.13"))


class World:
    """The core of builds over stand-ins."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.builds = FakeBuilds(self.clock)
        self.builders = FakeBuilders()
        self.changes = 0
        self.errors: list[BaseException] = []
        self.tasks = TaskGroup("test", lambda name, error: self.errors.append(error))
        self.requester = BuildRequester(self.builds, self.changed)
        self.starter = BuildStarter(self.builds, self.builders, FakeTemplates(), self.tasks)
        self.follower = BuildFollower(self.builds, self.builders, self.clock, self.changed)
        self.defaults = DefaultTemplates(self.builds, self.builds, self.builders, self.starter, self, self.clock)

    def changed(self) -> None:
        self.changes += 1

    async def find_team(self, team_id: str) -> Team | None:
        return TEAM

    async def find_team_by_key(self, key_hash: str) -> Team | None:
        return None

    async def find_user_by_token(self, token_hash: str) -> str | None:
        return None

    async def request(self) -> str:
        return (await self.requester.request(TEAM, BuildWish("mine"))).build_id

    async def started(self) -> str:
        build_id = await self.request()
        await self.starter.start(TEAM, "tpl1", build_id, RECIPE)
        return build_id

    async def look(self) -> None:
        for build in await self.follower.unfinished():
            await self.follower.follow(build)

    def reader(self, store: LogStore | None = None) -> BuildReader:
        return BuildReader(self.builds, self.builders, BuildLogStore(store), self.clock, self.follower.follow)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.tasks.close()


async def test_a_finished_build_is_noted_once_and_told(world: World) -> None:
    build_id = await world.started()
    (running,) = await world.follower.unfinished()
    world.builders.progress[build_id] = READY
    before = world.changes
    for _ in range(2):  # another API looks at the same moment
        await world.follower.follow(running)
    assert (world.builds.builds[build_id].state, world.changes - before) == (BuildState.READY, 1)


@pytest.mark.parametrize("error", [UnavailableError("away"), DeadlineError("slow")])
async def test_a_node_that_restarts_has_a_minute(world: World, error: SandbankError) -> None:
    build_id = await world.started()
    world.builders.error = error
    for seconds in (0, 30, 29):
        world.clock.pass_by(seconds=seconds)
        await world.look()
    assert world.builds.builds[build_id].state is BuildState.BUILDING
    world.builders.error = None
    await world.look()
    world.builders.error = error
    for seconds in (30, 30, 31):
        world.clock.pass_by(seconds=seconds)
        await world.look()
    lost = world.builds.builds[build_id]
    assert lost.reason == BuildReason(f"polling received unrecoverable error: {error.message}")
    assert world.builders.discarded == [build_id]


async def test_a_failure_without_a_reason_is_ours(world: World) -> None:
    build_id = await world.started()
    world.builders.progress[build_id] = BuildProgress(BuildState.ERROR)
    await world.look()
    reason = world.builds.builds[build_id].reason
    assert reason == BuildReason("An internal error occurred. Please try again or contact support with the build ID.")


async def test_a_start_that_was_interrupted_does_not_wait_for_ever(world: World) -> None:
    """An API that died between taking a build and hearing that its node has it."""
    build_id = await world.request()
    build = world.builds.builds[build_id]
    world.builds.builds[build_id] = replace(build, is_startable=False, node_id="n1")
    world.clock.pass_by(minutes=2)
    await world.look()
    assert world.builds.builds[build_id].state is BuildState.WAITING
    world.clock.pass_by(seconds=1)
    await world.look()
    assert world.builds.builds[build_id].reason == BuildReason("error when building env: the start was interrupted")
    assert world.builders.discarded == [build_id]


async def test_a_build_that_is_superseded_while_it_starts_is_stopped(world: World) -> None:
    build_id = await world.request()
    accept = world.builds.accept

    async def superseded(build_id: str) -> bool:
        await world.builds.fail(build_id, BuildReason("superseded"))
        return await accept(build_id)

    world.builds.accept = superseded  # type: ignore[method-assign]
    await world.starter.start(TEAM, "tpl1", build_id, RECIPE)
    assert (world.builds.builds[build_id].reason, world.builders.discarded) == (BuildReason("superseded"), [build_id])


async def test_a_start_of_unknown_outcome_is_stopped(world: World) -> None:
    build_id = await world.request()
    world.builders.error = DeadlineError("slow")
    with pytest.raises(InternalError, match="Error when starting template build: slow") as refused:
        await world.starter.start(TEAM, "tpl1", build_id, RECIPE)
    assert refused.value.should_retry is False
    assert (world.builders.discarded, world.builds.builds[build_id].state) == ([build_id], BuildState.ERROR)


@pytest.mark.parametrize(
    ("agent", "version"),
    [
        ("", "v2.1.0"),
        ("e2b-python-sdk/2.2.999", "v2.0.0"),
        ("e2b-python-sdk/1", "v2.0.0"),
        ("e2b-python-sdk/v2.3.0-beta.1", "v2.1.0"),
        ("other/1 e2b-js-sdk/2.10.0", "v2.1.0"),
        ("e2b-js-sdk/2.0.0 e2b-python-sdk/9.0.0", "v2.0.0"),
    ],
)
def test_versions_of_clients(agent: str, version: str) -> None:
    """§1.0: the first field that names an SDK decides."""
    assert build_version(agent) == version


@pytest.mark.parametrize("agent", ["e2b-js-sdk/", "e2b-js-sdk/x.1", "e2b-python-sdk/" + "9" * 5000])
def test_a_version_that_is_none(agent: str) -> None:
    with pytest.raises(InvalidError, match="Error when parsing user agent: "):
        build_version(agent)


def entry(number: int, at: int) -> LogEntry:
    return LogEntry(at, "info", f"line {number}", "{}", {"step": "1"})


@pytest.mark.parametrize("most", [1000, 7, 3])
@pytest.mark.parametrize("place", [lambda number: number, lambda number: number // 3])
async def test_an_offset_in_the_store_is_always_the_same_line(world: World, most: int, place: Callable[[int], int]) -> None:
    """§1.6: lines of one instant, and answers that are cut because they are too large."""
    await world.started()
    (build,) = world.builds.builds.values()
    begun = int(NOON.timestamp()) * 1_000_000_000
    store = FakeLogStore([entry(number, begun + place(number)) for number in range(40)], most + (3 if place(5) == 1 else 0))
    seen: list[str] = []
    while page := await BuildLogStore(store).read(build, LinePage(offset=len(seen), limit=11)):
        assert len(page) <= 11
        seen += [line.message for line in page]
    assert seen == [f"line {number}" for number in range(40)]
    query = store.queries[0]
    assert (query.service, query.subject.build_id, query.subject.template_id) == ("template-manager", build.build_id, "tpl1")


async def test_lines_come_from_the_node_or_else_from_the_store(world: World) -> None:
    build_id = await world.started()
    begun = int(NOON.timestamp()) * 1_000_000_000
    store = FakeLogStore([entry(1, begun + 1)])
    reader = world.reader(store)
    told = await reader.status(TEAM, "tpl1", build_id)
    assert [line.message for line in told.lines] == ["line 1"]
    world.builders.lines[build_id] = [BuildLine(begun, "info", "of the node", {})]
    for source, expected in ((None, "of the node"), ("temporary", "of the node"), ("persistent", "line 1")):
        question = LogQuestion(cursor_ms=int(NOON.timestamp() * 1000), source=source)
        assert [line.message for line in await reader.logs(TEAM, "tpl1", build_id, question)] == [expected]
    del world.builders.lines[build_id]
    assert list(await reader.logs(TEAM, "tpl1", build_id, LogQuestion(source="temporary"))) == []


async def test_a_state_is_told_though_its_log_cannot_be_read(world: World) -> None:
    build_id = await world.started()

    class Broken(FakeLogStore):
        async def find(self, query: object) -> list[LogEntry]:
            raise UnavailableError("away")

    reader = world.reader(Broken([]))
    told = await reader.status(TEAM, "tpl1", build_id)
    assert (told.build.state, list(told.lines)) == (BuildState.BUILDING, [])
    with pytest.raises(UnavailableError):
        await reader.logs(TEAM, "tpl1", build_id, LogQuestion())
    assert list((await world.reader().status(TEAM, "tpl1", build_id)).lines) == []


WANTED = DefaultTemplate("base", "What one starts with", RECIPE)


async def test_a_default_template_is_built_once_for_each_recipe(world: World) -> None:
    """§1.15: with the owner's normal operations."""
    assert [await world.defaults.ensure(WANTED) for _ in range(2)] == [DefaultState.BUILDING] * 2
    ((build_id, order),) = world.builders.orders.items()
    assert (order.template_id, order.team_id, order.recipe, order.version) == ("tpl-base", TEAM.team_id, RECIPE, "v2.1.0")
    world.builders.progress[build_id] = READY
    await world.look()
    assert await world.defaults.ensure(WANTED) is DefaultState.READY
    changed = replace(WANTED, recipe=replace(RECIPE, start_cmd="run"))
    assert await world.defaults.ensure(changed) is DefaultState.BUILDING
    assert len(world.builders.orders) == 2
    await world.builds.fail(list(world.builds.builds)[-1], BuildReason("no"))
    assert await world.defaults.ensure(changed) is DefaultState.FAILED
    assert await world.defaults.ensure(changed, retry=True) is DefaultState.BUILDING
    assert len(world.builders.orders) == 3


async def test_files_of_a_default_template_are_where_it_is_built_before_it_begins(world: World) -> None:
    files = (DefaultFile("aa", b"one"), DefaultFile("bb", b"two"))
    world.builders.files["bb"] = b"two"
    assert await world.defaults.ensure(replace(WANTED, files=files)) is DefaultState.BUILDING
    assert world.builders.uploads == ["aa"]
    assert world.builders.files == {"aa": b"one", "bb": b"two"}


async def test_a_default_template_waits_for_a_node_that_builds(world: World) -> None:
    world.builders.is_there = False
    with pytest.raises(NoBuilderError):
        await world.defaults.ensure(WANTED)
    assert world.builds.builds == {}


async def test_a_default_template_that_an_api_did_not_come_to_start_is_asked_for_again(world: World) -> None:
    await world.builds.register(TEAM, replace((await _request(world)), template_id="tpl-base"))
    assert await world.defaults.ensure(WANTED) is DefaultState.BUILDING
    assert world.builders.orders == {}
    world.clock.pass_by(seconds=10)
    assert await world.defaults.ensure(WANTED) is DefaultState.BUILDING
    assert len(world.builders.orders) == 1


async def _request(world: World) -> BuildRequest:
    await world.request()
    return world.builds.requests[-1]


async def test_unknown_builds(world: World) -> None:
    with pytest.raises(NotFoundError, match="Error when getting template: "):
        await world.starter.start(TEAM, "tpl1", str(uuid.uuid4()), RECIPE)
    with pytest.raises(InvalidError, match="Invalid build id"):
        await world.reader().status(TEAM, "tpl1", "{}")
