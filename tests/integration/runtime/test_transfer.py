"""A sandbox paused on one node goes on on another that never saw it (issue: artefacts; design: artefacts)."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbank.artifacts.exchange import Exchange
from sandbank.artifacts.remote import Remote
from sandbank.domain.errors import InternalError, UnavailableError
from sandbank.runtime.bundle import assemble
from sandbank.runtime.driver import NodeLayout, SandboxSpec
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
from sandbank.runtime.snapshot import cpu_features
from sandbank.runtime.snapshot.criu_program import find_criu
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

OTHER_DATA = node.DATA_DIR.with_name(f"{node.LAYOUT.instance}-other")
OTHER = dataclasses.replace(
    node.LAYOUT,
    data_dir=OTHER_DATA,
    run_dir=OTHER_DATA / "run",
    instance=node.LAYOUT.instance.replace("t", "o"),
    subnet=f"10.{170 + node.SLOT}.0.0/16",
    uid_base=node.LAYOUT.uid_base + 256 * 65536,
    sandbox_disk_mib=2000,
)
_LOOK = "cat /home/user/kept /srv/link; ls /etc/issue 2>&1; stat -c '%U %a' /srv/tool; sudo -n id -u; echo $COLOUR"
_SAID = "file\nfile\nls: cannot access '/etc/issue': No such file or directory\ndaemon 4750\n0\nred\n"
_COUNT = "(i=0; while sleep 0.02; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; done) > /dev/null 2>&1 &"


@asynccontextmanager
async def _node(layout: NodeLayout) -> AsyncIterator[NamespaceDriver]:
    driver = NamespaceDriver(layout, NamespaceSettings(free_slots=2, criu=find_criu(None).usable_path))
    await driver.start(lambda ended: None)
    try:
        yield driver
    finally:
        for sandbox_id in list(driver._running):
            await driver.kill(sandbox_id)
        for snapshot_id in driver.snapshot_names():
            await driver.remove_snapshot(snapshot_id)
        await driver.close()


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(Remote.open(f"file://{tmp_path}/objects"))


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> SandboxSpec:
    """Of a layer that is one of the first node's; the other node has nothing, and another agent bundle than the first."""
    layer = node.DATA_DIR / "artifacts" / "layers" / "rootfs"
    if not layer.exists():
        layer.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-al", str(node.ROOTFS), str(layer)], check=True)
    shutil.rmtree(OTHER_DATA, ignore_errors=True)
    own = assemble.find_or_assemble(node.DATA_DIR / "bundles")

    def find(bundles: Path) -> Path:
        if bundles.parent == node.DATA_DIR:
            return own
        subprocess.run(["cp", "-a", str(own), str(bundles / "another")], check=True)
        (bundles / "another" / "added").touch()
        return bundles / "another"

    monkeypatch.setattr(assemble, "find_or_assemble", find)
    spec = node.new_spec()
    return dataclasses.replace(spec, layers=(layer,), init=dataclasses.replace(spec.init, env_vars={"COLOUR": "red"}))


async def _pause(driver: NamespaceDriver, spec: SandboxSpec, exchange: Exchange, *, memory: bool = True) -> None:
    await driver.create(spec)
    await run(driver, spec.sandbox_id, f"{_COUNT} until [ -e /tmp/count ]; do sleep 0.02; done; echo file > /home/user/kept")
    await run(driver, spec.sandbox_id, "rm /etc/issue; ln /home/user/kept /srv/link; cp /bin/true /srv/tool", "root")
    await run(driver, spec.sandbox_id, "chown daemon /srv/tool; chmod 4750 /srv/tool; rm -r /usr/share/doc; mkdir /usr/share/doc", "root")
    await driver.pause(spec.sandbox_id, "travels", memory=memory)
    exchange.store("travels", await driver.describe_snapshot("travels"))


def _next(spec: SandboxSpec) -> SandboxSpec:
    return dataclasses.replace(spec, snapshot_id="travels", init=dataclasses.replace(spec.init, env_vars={}))


async def _place(driver: NamespaceDriver, exchange: Exchange) -> None:
    manifest = exchange.find("travels")
    assert manifest is not None
    await driver.place_snapshot(exchange, manifest)


@pytest.mark.parametrize("memory", [True, False])
async def test_it_goes_on_elsewhere_and_back_home(spec: SandboxSpec, exchange: Exchange, memory: bool) -> None:
    async with _node(node.LAYOUT) as home:
        await _pause(home, spec, exchange, memory=memory)
        await home.remove_snapshot("travels")
        async with _node(OTHER) as other:
            assert not other.has_snapshot("travels")
            await _place(other, exchange)
            await other.create(_next(spec))
            assert (await run(other, spec.sandbox_id, _LOOK)).output == _SAID
            assert (await run(other, spec.sandbox_id, "ls /usr/share/doc")).output == ""
            counts = [int((await run(other, spec.sandbox_id, "sleep 0.2; cat /tmp/count")).output) for _ in range(2)]
            assert (counts[0] < counts[1]) is memory
            await run(other, spec.sandbox_id, "echo changed > /home/user/kept")
            exchange.remove("travels")
            await other.pause(spec.sandbox_id, "travels", memory=memory)
            exchange.store("travels", await other.describe_snapshot("travels"))
        await _place(home, exchange)
        await home.create(_next(spec))
        assert (await run(home, spec.sandbox_id, "cat /home/user/kept")).output == "changed\n"
        assert (await run(home, spec.sandbox_id, "sudo -n id -u")).output == "0\n"


async def test_damage_is_noticed_and_leaves_nothing(spec: SandboxSpec, exchange: Exchange, tmp_path: Path) -> None:
    async with _node(node.LAYOUT) as home, _node(OTHER) as other:
        await _pause(home, spec, exchange)
        (memory,) = (tmp_path / "objects").rglob("memory.tar.zst")
        content = bytearray(memory.read_bytes())
        content[len(content) // 2] ^= 1
        memory.write_bytes(content)
        with pytest.raises(InternalError, match=r"snapshots/travels/memory.tar.zst in storage is damaged"):
            await _place(other, exchange)
        assert not other.has_snapshot("travels")
        assert list((OTHER_DATA / "sandboxes" / ".snapshots").iterdir()) == []
        memory.unlink()
        with pytest.raises(InternalError, match="is gone from storage"):
            await _place(other, exchange)


async def test_a_lesser_processor_is_told_and_refused(spec: SandboxSpec, exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _node(node.LAYOUT) as home:
        await _pause(home, spec, exchange)
        lesser = tuple(flag for flag in cpu_features.local() if flag != "sse2")
        with monkeypatch.context() as patch:
            patch.setattr(cpu_features, "local", lambda: lesser)
            with pytest.raises(UnavailableError, match="processor lacks what the sandbox may use: sse2"):
                await home.create(_next(spec))
        await home.create(_next(spec))
