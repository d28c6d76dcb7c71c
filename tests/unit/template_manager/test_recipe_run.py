"""What of a recipe is built, with sandboxes and layers that are lists in memory (templates contract §1.0, §1.8, §1.10)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sandbank.artifacts.builds import Build, StartCommand
from sandbank.artifacts.layer_index import BuildContext, LayerEntry
from sandbank.domain.errors import ConflictError, UnavailableError
from sandbank.runtime.agent.command import AgentCommand, Exit, OnOutput
from sandbank.template_manager.core.build_log import BuildLog, LogPage
from sandbank.template_manager.core.order import V1, V2_0, V2_1, BuildOrder, Step
from sandbank.template_manager.core.phase_error import PhaseError
from sandbank.template_manager.core.ports import Base, Result, SandboxWish
from sandbank.template_manager.core.recipe_run import RecipeRun, Tools

GOOD = Exit(0, "exit status 0")


@dataclass
class World:
    """Everything that a build touches."""

    entries: dict[tuple[str, str], LayerEntry] = field(default_factory=dict)
    builds: dict[str, Build] = field(default_factory=dict)
    snapshots: set[str] = field(default_factory=set)
    opened: list[SandboxWish] = field(default_factory=list)
    open_now: int = 0
    ran: list[AgentCommand] = field(default_factory=list)
    pulled: int = 0
    made: int = 0
    memory_failure: Exception | None = None
    answer: Callable[[AgentCommand], Exit] = lambda _: GOOD
    published: list[tuple[tuple[str, ...], Result]] = field(default_factory=list)

    version = "1"

    # Bases
    async def get(self, order: BuildOrder, log: Callable[[str], None]) -> Base:
        self.pulled += 1
        return Base(("image",), {"FROM_IMAGE": "yes"})

    # BuildSandboxes
    @asynccontextmanager
    async def open(self, order: BuildOrder, wish: SandboxWish) -> AsyncIterator[Sandbox]:
        self.opened.append(wish)
        self.open_now += 1
        try:
            yield Sandbox(self, wish)
        finally:
            self.open_now -= 1

    # Files
    def read(self, path: Path) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def find(self, build_id: str) -> Build | None:
        return self.builds.get(build_id)

    def has_snapshot(self, build_id: str) -> bool:
        return build_id in self.snapshots

    async def publish(self, order: BuildOrder, layers: Sequence[str], result: Result) -> int:
        self.published.append((tuple(layers), result))
        return 1

    async def discard(self, build_id: str) -> None:
        raise NotImplementedError


class Layers:
    def __init__(self, world: World) -> None:
        self._world = world

    async def find(self, scope: str, digest: str) -> LayerEntry | None:
        return self._world.entries.get((scope, digest))

    async def put(self, scope: str, digest: str, entry: LayerEntry) -> None:
        self._world.entries[scope, digest] = entry


class NoFiles:
    def find(self, scope: str, digest: str) -> Path | None:
        return None

    def read(self, path: Path) -> AsyncIterator[bytes]:
        raise NotImplementedError


@dataclass
class Sandbox:
    world: World
    wish: SandboxWish

    async def run(self, command: AgentCommand, on_output: OnOutput | None = None) -> Exit:
        self.world.ran.append(command)
        if "os-release" in command.text and on_output is not None:
            on_output("stdout", b"ID=debian\n")
        if command.text.startswith("path=") and on_output is not None:
            on_output("stdout", b"/made\n")
        return self.world.answer(command)

    async def write_file(self, path: str, size_bytes: int, content: AsyncIterator[bytes]) -> None:
        raise NotImplementedError

    async def save_layer(self) -> tuple[str, ...]:
        self.world.made += 1
        return (*self.wish.layers, f"layer{self.world.made}")

    async def save_memory(self, snapshot_id: str) -> None:
        if self.world.memory_failure is not None:
            raise self.world.memory_failure
        self.world.snapshots.add(snapshot_id)


def order(*steps: Step, **changes: object) -> BuildOrder:
    base = BuildOrder("tpl", "build", "team", "team", V2_1, 2, 512, 1024, image="debian", steps=steps)
    return replace(base, **changes)  # type: ignore[arg-type]


async def build(world: World, wanted: BuildOrder) -> list[str]:
    """The lines of its log."""
    log = BuildLog(lambda _: None)
    tools = Tools(bases=world, sandboxes=world, layers=Layers(world), files=NoFiles(), builds=world)
    try:
        await RecipeRun(wanted, tools, log).run()
    finally:
        assert world.open_now == 0
    return [entry.message for entry in log.page(LogPage(limit=1000))]


def steps_of(lines: list[str]) -> list[str]:
    return [line.partition("[builder")[0].strip() for line in lines if "[builder" in line and "] [std" not in line]


RUN, ENV = Step("RUN", ("make",)), Step("ENV", ("A", "b"))


async def test_a_repeated_build_takes_everything_but_its_end_from_the_cache() -> None:
    world = World()
    await build(world, order(RUN, ENV, RUN))
    assert (world.pulled, len(world.opened)) == (1, 1)
    world.ran.clear()
    lines = await build(world, order(RUN, ENV, RUN))
    assert steps_of(lines) == ["CACHED"] * 3
    assert (world.pulled, len(world.opened)) == (1, 2)
    assert [command.text for command in world.ran if command.text == "make"] == []
    assert world.opened[1].layers == ("image", "layer4"), "of provisioning, the user, and the two steps that wrote something, the last"


async def test_a_build_goes_on_from_the_last_step_that_is_the_same() -> None:
    world = World()
    await build(world, order(RUN, ENV))
    lines = await build(world, order(RUN, ENV, Step("RUN", ("echo $A",))))
    assert steps_of(lines) == ["CACHED", "CACHED", ""]
    assert world.ran[-2].env_vars["A"] == "b"
    assert world.ran[-2].env_vars["FROM_IMAGE"] == "yes"


async def test_forced_means_anew_from_there_on() -> None:
    world = World()
    await build(world, order(RUN, ENV, RUN))
    assert steps_of(await build(world, order(RUN, replace(ENV, force=True), RUN))) == ["CACHED", "", ""]
    assert steps_of(await build(world, order(RUN, ENV, RUN, force=True))) == ["", "", ""]
    assert world.pulled == 2


async def test_nothing_is_shared_between_teams_or_versions_of_bases() -> None:
    world = World()
    await build(world, order(RUN))
    assert steps_of(await build(world, order(RUN, scope="others"))) == [""]
    world.version = "2"
    assert steps_of(await build(world, order(RUN))) == [""]


async def test_variables_alone_need_no_sandbox_of_their_own() -> None:
    world = World()
    await build(world, order(RUN))
    opened = len(world.opened)
    layers = world.made
    await build(world, order(RUN, ENV, ENV, ENV))
    assert (len(world.opened) - opened, world.made - layers) == (1, 1), "that of the end"


async def test_a_step_that_fails_ends_it_and_keeps_those_before() -> None:
    world = World(answer=lambda command: Exit(3, "exit status 3") if command.text == "fail" else GOOD)
    with pytest.raises(PhaseError) as failure:
        await build(world, order(RUN, Step("RUN", ("fail",)), RUN))
    assert (failure.value.step, failure.value.message) == ("2", "failed to run command 'fail': exit status 3")
    assert world.published == []
    assert steps_of(await build(world, order(RUN, ENV))) == ["CACHED", ""]


@pytest.mark.parametrize(
    ("version", "user", "workdir", "starts_as"),
    [(V1, "user", "/home/user", "user"), (V2_0, "user", None, "worker"), (V2_1, "worker", "/made", "worker")],
)
async def test_whose_sandboxes_are_depends_on_the_clients_generation(version: str, user: str, workdir: str | None, starts_as: str) -> None:
    world = World()
    steps = (Step("USER", ("worker",)), Step("WORKDIR", ("/srv",)))
    await build(world, order(*steps, version=version, start_command="serve", ready_command="true"))
    _, result = world.published[0]
    assert (result.default_user, result.default_workdir) == (user, workdir)
    assert result.start is not None
    assert result.start.context.user == starts_as
    assert world.snapshots == {"build-start"}


@pytest.mark.parametrize("failure", [ConflictError("io_uring"), UnavailableError("no CRIU")])
async def test_memory_that_cannot_be_kept_is_said_and_no_failure(failure: Exception) -> None:
    world = World(memory_failure=failure)
    lines = await build(world, order(start_command="serve", ready_command="true"))
    assert any("will run in each new sandbox" in line and str(failure) in line for line in lines)
    assert len(world.published) == 1


async def test_what_a_parent_starts_is_inherited_unless_the_child_says_something() -> None:
    start = StartCommand("parents", "ready", BuildContext("worker"))
    world = World()
    world.builds["parent"] = Build("parent", "x", (Path("/l/image"),), start=start, context=BuildContext("worker", "/srv", {"A": "1"}))
    child = order(image=None, base_build_id="parent", base_alias="mine")
    await build(world, child)
    assert (world.published[-1][1].start, world.published[-1][1].default_user) == (start, "worker")
    await build(world, replace(child, ready_command="true"))
    own = world.published[-1][1].start
    assert own is not None
    assert (own.command, own.ready) == ("", "true")
    with pytest.raises(PhaseError, match="you may need to rebuild it first"):
        await build(world, replace(child, base_build_id="gone"))


async def test_a_chain_that_has_grown_too_long_is_built_anew() -> None:
    world = World()
    await build(world, order(RUN))
    for key, entry in list(world.entries.items()):
        world.entries[key] = replace(entry, layers=tuple(f"l{number}" for number in range(61)))
    assert steps_of(await build(world, order(RUN))) == [""]
    assert len(world.published[-1][0]) < 5
