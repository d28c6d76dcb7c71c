"""Snapshots outlive what they were taken with: our code, its Python packages, the node's C library (issue: pause, upgrade, resume)."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbank.runtime.bundle import assemble
from sandbank.runtime.driver import SandboxSpec
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.snapshot.criu_program import find_criu
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

_LOADER = "ld-linux-x86-64.so.2"
_COUNT = "i=0; while true; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; sleep 0.05; done"


def _libraries() -> Path:
    """Those of CRIU's own prefix, of another release of Debian than any that Sandbank runs on."""
    program = find_criu(None).usable_path
    assert program is not None
    (loader,) = (program.parent.parent / "root").glob(f"usr/lib/*/{_LOADER}")
    return loader.parent


def _version(libraries: Path) -> bytes:
    return subprocess.run([libraries / _LOADER, libraries / "libc.so.6"], capture_output=True, check=True).stdout.splitlines()[0]


@pytest.fixture
async def bundles() -> AsyncIterator[tuple[Path, Path]]:
    """This node's agent bundle, and that of one with another C library and other packages."""
    old = assemble.find_or_assemble(node.DATA_DIR / "bundles")
    new = old.with_name("newer")
    shutil.rmtree(new, ignore_errors=True)
    subprocess.run(["cp", "-a", str(old), str(new)], check=True)
    for path in (new / "lib").glob("*.so.*"):
        if (other := _libraries() / path.name).exists() and path.name.startswith(("ld-", "libc.", "libm.", "libpthread.", "librt.")):
            shutil.copy2(other, path)
    for package in new.glob("lib/python*/site-packages/httptools"):
        (package / "added.py").write_text("# another release of it\n")
    assert _version(new / "lib") != _version(old / "lib")
    yield old, new
    shutil.rmtree(new)


@asynccontextmanager
async def _node_with(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NamespaceDriver]:
    monkeypatch.setattr(assemble, "find_or_assemble", lambda _bundles: bundle)
    driver = node.make_driver()
    try:
        await driver.start(lambda ended: None)
        yield driver
    finally:
        await driver.close()


async def _begin(driver: NamespaceDriver) -> SandboxSpec:
    spec = node.new_spec()
    await driver.create(spec)
    await run(driver, spec.sandbox_id, f"echo kept > /home/user/file; setsid sh -c '{_COUNT}' > /dev/null 2>&1 &")
    return spec


async def _goes_on(driver: NamespaceDriver, spec: SandboxSpec, bundle: Path) -> None:
    assert driver._running[spec.sandbox_id].record.bundle == bundle.name
    said = await run(
        driver, spec.sandbox_id, "cat /home/user/file; a=$(cat /tmp/count); sleep 0.5; [ $(cat /tmp/count) -gt $a ] && echo on"
    )
    assert said.output == "kept\non\n"


async def test_paused_before_an_upgrade_and_resumed_after_it_again_and_again(
    bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundles
    async with _node_with(old, monkeypatch) as before:
        spec = await _begin(before)
        await before.pause(spec.sandbox_id, "before-upgrade")
    async with _node_with(new, monkeypatch) as after:
        for name, next_name in (("before-upgrade", "after-upgrade"), ("after-upgrade", "once-more"), ("once-more", None)):
            await after.create(dataclasses.replace(spec, snapshot_id=name))
            await _goes_on(after, spec, old)
            if next_name is not None:
                await after.pause(spec.sandbox_id, next_name)
            await after.remove_snapshot(name)
        fresh = await _begin(after)
        await _goes_on(after, fresh, new)
        for one in (spec, fresh):
            await after.kill(one.sandbox_id)


async def test_one_that_ran_during_the_upgrade_is_paused_and_forked_after_it(
    bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundles
    async with _node_with(old, monkeypatch) as before:
        spec = await _begin(before)
    async with _node_with(new, monkeypatch) as after:
        await after.checkpoint(spec.sandbox_id, "for-forks")
        forks = [dataclasses.replace(node.new_spec(), snapshot_id="for-forks") for _ in range(2)]
        for fork in forks:
            await after.create(fork)
        await after.remove_snapshot("for-forks")
        await after.pause(spec.sandbox_id, "adopted")
        await after.create(dataclasses.replace(spec, snapshot_id="adopted"))
        await after.remove_snapshot("adopted")
        for one in (spec, *forks):
            await _goes_on(after, one, old)
            await after.kill(one.sandbox_id)


async def test_paused_by_a_newer_c_library_and_resumed_where_that_is_not(
    bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes with other libraries hand each other snapshots, with the bundle that they were taken of."""
    old, new = bundles
    async with _node_with(new, monkeypatch) as before:
        spec = await _begin(before)
        await before.pause(spec.sandbox_id, "of-newer")
    async with _node_with(old, monkeypatch) as after:
        await after.create(dataclasses.replace(spec, snapshot_id="of-newer"))
        await _goes_on(after, spec, new)
        await after.kill(spec.sandbox_id)
        await after.remove_snapshot("of-newer")
