"""Templates built for real: steps, files, the cache, start commands (templates contract §1.2, §1.8, §1.10)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbank.artifacts.builds import memory_name
from sandbank.contracts.template_manager import TemplateStep
from tests.integration.template_manager import builder
from tests.integration.template_manager.builder import BuildingNode, archive, step

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    builder.prepare()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[BuildingNode]:
    node = BuildingNode()
    await node.start()
    yield node
    assert node.sandbox_ids() == []
    await node.stop()


def fresh(command: str) -> str:
    """A command that nobody has run before, so that it is in no cache."""
    return f"{command} # {uuid.uuid4()}"


FILES = [
    ("one.txt", b"1"),
    ("script.sh", b"#!/bin/sh\necho ran\n"),
    ("dir", None),
    ("dir/a.py", b"a"),
    ("dir/sub", None),
    ("dir/sub/b.txt", b"b"),
    ("link", "-> one.txt"),
]

# Of a COPY: its arguments, what was run before it, what shows the result, and the result.
COPIES = [
    (("one.txt", "/srv/"), "", "cat /srv/one.txt; stat -c '%U:%G' /srv/one.txt", "1user:user\n"),
    (("one.txt", "/srv/renamed"), "", "cat /srv/renamed", "1"),
    (("one.txt", "/new/deep/file"), "", "cat /new/deep/file; stat -c %U /new", "1root\n"),
    (("one.txt", "/srv/there"), "mkdir /srv/there", "cat /srv/there/one.txt", "1"),
    (("one.txt", "here.txt"), "", "cat /home/user/here.txt", "1"),
    (("one.txt", "/srv/one", "root"), "", "stat -c '%U:%G' /srv/one", "root:root\n"),
    (("one.txt", "/srv/one", "root:user"), "", "stat -c '%U:%G' /srv/one", "root:user\n"),
    (("script.sh", "/srv/run", "", "0755"), "", "/srv/run; stat -c %a /srv/run", "ran\n755\n"),
    (("one.txt", "/srv/none", "", "0000"), "", "stat -c %a /srv/none", "0\n"),
    (("dir", "/srv/dir"), "", "cd /srv/dir; find . | sort; stat -c %U a.py sub/b.txt", ".\n./a.py\n./sub\n./sub/b.txt\nuser\nuser\n"),
    (("dir", "/srv/dir/"), "", "cat /srv/dir/sub/b.txt", "b"),
    (
        ("dir", "/srv/m"),
        "mkdir -p /srv/m/sub; echo old > /srv/m/a.py; echo kept > /srv/m/sub/kept; chmod 700 /srv/m",
        "cat /srv/m/a.py /srv/m/sub/b.txt /srv/m/sub/kept; stat -c %a,%U /srv/m",
        "abkept\n700,root\n",
    ),
    (
        ("dir", "/srv/m"),
        "mkdir -p /srv/m /srv/else; ln -s /srv/else /srv/m/sub",
        "cat /srv/else/b.txt; readlink /srv/m/sub",
        "b/srv/else\n",
    ),
    (("dir/*.py", "/srv/py"), "", "ls /srv/py", "a.py\nsub\n"),
    ((".", "/srv/all"), "", "ls /srv/all", "dir\nlink\none.txt\nscript.sh\n"),
    (("link", "/srv/link"), "", "readlink /srv/link; stat -c %U /srv/link", "one.txt\nuser\n"),
    (("one.txt", '/srv/it\'s a "file" $HOME'), "", 'cat "/srv/it\'s a \\"file\\" \\$HOME"', "1"),
]


@pytest.mark.parametrize("compress", [True, False], ids=["gzip", "plain"])
async def test_what_is_copied_is_where_and_whose_it_should_be(node: BuildingNode, compress: bool) -> None:
    digest = await node.upload(archive([*FILES, ("mark", uuid.uuid4().bytes)][: len(FILES)], compress=compress))
    for args, before, command, expected in COPIES if compress else COPIES[:2]:
        first = [step("RUN", before, "root")] if before else []
        built = await node.build(*first, step("COPY", *args, files=digest))
        assert built.is_good, (args, built.reason)
        assert await node.run(built, command) == expected, args


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (step("COPY", "nothing", "/srv", files="x"), "failed to copy files of 'COPY nothing /srv': exit status 1"),
        (step("COPY", "one.txt", "/srv", files="0" * 64), "the files of 'COPY one.txt /srv' were not uploaded"),
        (step("COPY", "one.txt", "/srv"), "COPY requires files hash to be set"),
        (step("COPY", "one.txt"), "COPY requires a local path and a container path argument"),
        (step("RUN"), "RUN requires command argument"),
        (step("ENV"), "ENV does not support passing no arguments"),
        (step("ENV", "A"), "ENV requires both a key and value arguments"),
        (step("ENV", "A=B", "c"), "ENV: 'A=B' is not the name of a variable"),
        (step("HEALTHCHECK", "x"), "command type HEALTHCHECK is not implemented"),
        (step("run", "exit 9"), "failed to run command 'exit 9': exit status 9"),
        (step("RUN", "kill -9 $$"), "signal: killed"),
        (step("WORKDIR", "/etc/passwd/x"), "failed to make the working directory '/etc/passwd/x'"),
        (step("USER", "not a name"), "failed to set the user 'not a name'"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.type,
)
async def test_a_step_that_fails_says_which_and_why(node: BuildingNode, made: TemplateStep, message: str) -> None:
    if made.filesHash == "x":
        made.filesHash = await node.upload(archive(FILES))
    built = await node.build(step("RUN", "true"), made)
    assert not built.is_good
    assert message in built.reason
    assert built.step == "2"
    assert built.lines[-1] == f"Build failed: {built.reason}"


async def test_variables_are_expanded_and_nothing_in_them_is_executed(node: BuildingNode) -> None:
    values = ["one $FIRST", "$(touch /tmp/bad) `touch /tmp/bad`", 'a "quoted" \\ value', "line\nbreak", "${FIRST:-x}é", "$FIRST$SECOND"]
    pairs = [part for number, value in enumerate(values) for part in (f"V{number}", value)]
    built = await node.build(
        step("ENV", "FIRST", "1", "SECOND", "$FIRST-2"),
        step("ENV", *pairs),
        step("RUN", "for n in 0 1 2 3 4 5; do eval printf '%s\\\\0' \\\"\\$V$n\\\"; done > /tmp/values; ls /tmp/bad; true"),
    )
    assert built.is_good, built.reason
    seen = (await node.run(built, "cat /tmp/values; ls /tmp/bad 2>&1")).split("\0")
    assert seen[:6] == ["one 1", "$(touch /tmp/bad) `touch /tmp/bad`", 'a "quoted" \\ value', "line\nbreak", "1é", "11-2"]
    assert "No such file" in seen[6]


async def test_a_path_of_ones_own_is_kept_by_login_shells(node: BuildingNode) -> None:
    built = await node.build(step("ENV", "PATH", "/srv/bin:$PATH"), step("RUN", "echo $PATH > /tmp/path; command -v ls"))
    assert built.is_good, built.reason
    assert (await node.run(built, "cat /tmp/path")).startswith("/srv/bin:")


async def test_what_was_done_is_not_done_again_for_its_team(node: BuildingNode) -> None:
    steps = [step("RUN", fresh("date +%N > /tmp/one")), step("ENV", "A", "b"), step("RUN", "date +%N > /tmp/two")]
    first, again, theirs = await node.build(*steps), await node.build(*steps), await node.build(*steps, scope="others")
    assert [first.cached, again.cached, theirs.cached] == [[False] * 3, [True] * 3, [False] * 3]
    assert await node.run(first, "cat /tmp/one /tmp/two") == await node.run(again, "cat /tmp/one /tmp/two")
    partly = [steps[0], step("ENV", "A", "b", force=True), steps[2]]
    forced = await node.build(*partly)
    assert forced.cached == [True, False, False]
    assert (await node.build(*steps, force=True)).cached == [False] * 3
    assert (await node.build(*steps[:2], step("RUN", fresh("cat /tmp/one")))).cached == [True, True, False]


async def test_processes_of_one_step_are_there_for_the_next(node: BuildingNode) -> None:
    built = await node.build(step("RUN", fresh("(setsid sleep 1000 > /dev/null 2>&1 &)")), step("RUN", "pgrep -x sleep > /tmp/pids"))
    assert built.is_good, built.reason
    assert await node.run(built, "pgrep -x sleep | wc -l") == "0\n", "but not in sandboxes: nothing said that it starts"


async def test_a_template_starts_where_another_ends(node: BuildingNode) -> None:
    steps = [step("USER", "worker"), step("WORKDIR", "/srv/x"), step("ENV", "A", "1")]
    parent = await node.build(*steps, start="exec sleep 777", ready="true")
    child = await node.build(step("RUN", "echo $(whoami) $(pwd) $A > /tmp/seen"), base=parent.build_id)
    assert child.is_good, child.reason
    assert await node.run(child, "cat /tmp/seen; pgrep -x sleep > /dev/null && echo runs") == "worker /srv/x 1\nruns\n"
    other = await node.build(base=parent.build_id, ready="true")
    assert await node.run(other, "pgrep -x sleep > /dev/null || echo quiet") == "quiet\n"
    missing = await node.build(base=str(uuid.uuid4()))
    assert (missing.step, missing.reason) == ("base", "error getting base template, you may need to rebuild it first")


@pytest.mark.parametrize(
    ("version", "user", "workdir"), [("v1.0.0", "user", "/home/user"), ("v2.0.0", "user", "/home/user"), ("v2.1.0", "worker", "/srv")]
)
async def test_whose_sandboxes_are_depends_on_the_client(node: BuildingNode, version: str, user: str, workdir: str) -> None:
    """Templates contract §1.0."""
    built = await node.build(step("USER", "worker"), step("WORKDIR", "/srv"), version=version)
    assert built.is_good, built.reason
    assert (await node.run(built, "whoami; pwd", user="")).split() == [user, workdir]


async def test_what_a_template_starts_is_in_memory_or_is_started(node: BuildingNode) -> None:
    start = fresh("date +%N > /tmp/when; exec python3 -m http.server 8000")
    built = await node.build(start=start, ready="curl -sf localhost:8000 > /dev/null")
    assert built.is_good, built.reason
    assert node.driver.has_memory(memory_name(built.build_id))
    look = "cat /tmp/when; curl -s localhost:8000 | head -1"
    assert await node.run(built, look) == await node.run(built, look), "it was started once"
    await node.driver.remove_snapshot(memory_name(built.build_id))
    assert await node.run(built, look) != await node.run(built, look), "without memory it is started in each"
    await node.cancel(built.build_id)
    assert not await node.is_known(built.build_id)


@pytest.mark.parametrize(
    ("start", "ready", "message"),
    [
        ("echo no >&2; exit 3", "sleep 0.2; false", "start command failed: exit status 3"),
        ("no-such-program", "sleep 0.2; false", "start command failed: exit status 127"),
        ("exec sleep 1000", "exit 0; kill", ""),
    ],
)
async def test_a_start_command_that_fails_fails_the_build(node: BuildingNode, start: str, ready: str, message: str) -> None:
    built = await node.build(start=start, ready=ready)
    assert built.is_good == (message == "")
    assert built.reason == message
    if message:
        assert built.step == "finalize"


async def test_the_same_start_without_criu(node: BuildingNode) -> None:
    await node.stop()
    other = BuildingNode(criu=Path("/nowhere/criu"))
    await other.start()
    try:
        built = await other.build(start=fresh("exec python3 -m http.server 8001"), ready="curl -sf localhost:8001 > /dev/null")
        assert built.is_good, built.reason
        assert any("will run in each new sandbox" in line for line in built.lines)
        assert "<!DOCTYPE" in await other.run(built, "curl -s localhost:8001 | head -1")
    finally:
        await other.stop()
        await node.start()
