"""Recipes, archives and images that mean harm: a clear error, the node unharmed, nothing left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tarfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.registry.images import Image, entry, write_layout
from tests.integration.registry.images import archive as image_layer
from tests.integration.template_manager import builder
from tests.integration.template_manager.builder import DATA_DIR, BuildingNode, archive, step

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> None:
    builder.prepare()
    bare = Image.of([image_layer(entry("etc/os-release", b"ID=debian\n"))])
    layout = write_layout(tmp_path_factory.mktemp("images") / "bare", {"amd64": bare})
    os.environ["SANDBANK_TEMPLATE_IMAGE_MIRRORS"] = json.dumps({"hostile/bare": f"oci:{layout}", "hostile/bare:*": f"oci:{layout}"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[BuildingNode]:
    node = BuildingNode()
    await node.start()
    yield node
    assert node.sandbox_ids() == []
    assert list((DATA_DIR / "artifacts" / "orders").glob("*")) == []
    linked = {path.name for path in (DATA_DIR / "artifacts" / "layers").iterdir() if path.is_symlink()}
    assert {path.name for path in (DATA_DIR / "sandboxes" / ".layers").iterdir()} <= linked
    await node.stop()
    left = subprocess.run(["pgrep", "-u", f"{3_300_000_000 + builder.SLOT * 40_000_000}"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    assert str(DATA_DIR) not in Path("/proc/self/mountinfo").read_text()


async def _is_unharmed(node: BuildingNode) -> None:
    built = await node.build(step("RUN", "true"))
    assert built.is_good, built.reason


async def test_a_step_that_fills_the_disk_meets_its_limit(node: BuildingNode) -> None:
    built = await node.build(step("RUN", "head -c 2G /dev/zero > /tmp/big"), disk_mib=512)
    assert (built.is_good, built.step) == (False, "1")
    assert any("No space left" in line or "quota" in line for line in built.lines), built.lines
    await _is_unharmed(node)


async def test_a_fork_bomb_is_ended_with_its_build(node: BuildingNode) -> None:
    build_id = await node.begin(step("RUN", "bomb() { bomb | bomb & }; bomb; sleep 1000"))
    await asyncio.sleep(1)
    await node.cancel(build_id)
    built = await node.finish(build_id)
    assert built.reason == "build was cancelled"
    await _is_unharmed(node)


async def test_a_flood_of_output_is_cut_and_its_end_kept(node: BuildingNode) -> None:
    built = await node.build(step("RUN", f"yes {uuid.uuid4()} | head -c 60M; echo; echo the very last line"), seconds=120)
    assert built.is_good, built.reason
    assert len(built.lines) < 10_200
    assert any("lines of output are left out" in line for line in built.lines)
    assert any(line.endswith("[stdout]: the very last line") for line in built.lines)


async def test_a_step_that_ends_its_sandbox_says_so(node: BuildingNode) -> None:
    built = await node.build(step("RUN", "kill -9 -1", "root"))
    assert (built.is_good, built.step) == (False, "1")
    assert built.reason.startswith("failed to run command 'kill -9 -1': ")
    await _is_unharmed(node)


async def test_a_build_without_end_is_cancelled(node: BuildingNode) -> None:
    build_id = await node.begin(step("RUN", "trap '' TERM INT; while true; do sleep 1; done"))
    while not node.sandbox_ids():
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    await node.cancel(build_id)
    assert node.sandbox_ids() == []
    assert (await node.finish(build_id)).reason == "build was cancelled"


async def test_an_archive_that_swells_meets_the_disks_limit(node: BuildingNode) -> None:
    digest = await node.upload(archive([("zeros", bytes(1 << 30))]))
    built = await node.build(step("COPY", "zeros", "/srv/zeros", files=digest), disk_mib=512)
    assert (built.is_good, built.step) == (False, "1")
    await _is_unharmed(node)


def _device(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor, info.mode = tarfile.BLKTYPE, 254, 0, 0o666
    return info


@pytest.mark.parametrize(
    "entries",
    [
        [("/tmp/{mark}", b"absolute")],
        [("../../../../../../tmp/{mark}", b"up")],
        [("trap", "-> /tmp"), ("trap/{mark}", b"through a link")],
        [("trap", "-> /proc/1/root/tmp"), ("trap/{mark}", b"through another root")],
        [("{mark}", _device("{mark}"))],
    ],
    ids=["absolute", "dots", "link", "proc", "device"],
)
async def test_an_archive_reaches_nothing_but_its_sandbox(node: BuildingNode, entries: list[tuple[str, object]]) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    named = [(name.format(mark=mark), content) for name, content in entries]
    for _, content in named:
        if isinstance(content, tarfile.TarInfo):
            content.name = content.name.format(mark=mark)
    digest = await node.upload(archive(named))
    await node.build(step("COPY", ".", "/srv/all", files=digest))
    assert not Path("/tmp", mark).exists()
    found = subprocess.run(["find", str(DATA_DIR), "-name", mark, "-type", "b"], capture_output=True, text=True, check=False)
    assert found.stdout == ""


async def test_an_archive_that_is_none(node: BuildingNode) -> None:
    digest = await node.upload(b"not a tar at all")
    built = await node.build(step("COPY", "x", "/srv", files=digest))
    assert (built.is_good, built.step) == (False, "1")
    assert "failed to copy files" in built.reason


async def test_an_image_without_a_shell_is_refused(node: BuildingNode) -> None:
    built = await node.build(image="hostile/bare:1")
    assert (built.is_good, built.step) == (False, "base")
    assert "/bin/sh" in built.reason


@pytest.mark.parametrize("text", ["'; touch /tmp/x; '", '"$(id)"', "a\nb", "-rf", "é\u202e", "*", "~", "x" * 5000])
async def test_names_mean_only_themselves(node: BuildingNode, text: str) -> None:
    name = f"/srv/{text[:200]}"
    built = await node.build(step("WORKDIR", name), step("RUN", "pwd > /tmp/where"))
    assert built.is_good, built.reason
    assert (await node.run(built, "cat /tmp/where; ls /tmp/x 2> /dev/null")).startswith(name)


async def test_a_nul_is_an_error_and_no_crash(node: BuildingNode) -> None:
    built = await node.build(step("RUN", "echo a\0b"))
    assert (built.is_good, built.step) == (False, "1")
    await _is_unharmed(node)


async def test_a_node_that_is_killed_goes_on_with_its_builds(node: BuildingNode) -> None:
    await node.stop()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.template_manager.builder"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while await asyncio.to_thread(process.stdout.readline) != "ready\n":  # the log says "node is ready" before that
                pass
        client = BuildingNode()
        client.connect()
        mark = uuid.uuid4().hex
        steps = [step("RUN", f"date +%N > /tmp/one # {mark}"), step("RUN", f"sleep 3; date +%N > /tmp/two # {mark}")]
        build_id = await client.begin(*steps)
        async with asyncio.timeout(20):
            while not any("[builder 2/2]" in line for line in await client.lines(build_id)):
                await asyncio.sleep(0.05)
        await client.disconnect()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    await node.start()
    built = await node.finish(build_id)
    assert built.is_good, built.reason
    assert built.cached == [True, False]
    assert len((await node.run(built, "cat /tmp/one /tmp/two")).split()) == 2
