"""Directories that outlive sandboxes and are shared by several (rest-api contract §18.3)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sandbank.domain.errors import SandbankError
from sandbank.runtime.driver import VolumeMount
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node
from tests.integration.runtime.inside import run


@pytest.fixture
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("volume")
    directory.chmod(0o777)
    return directory


async def test_two_sandboxes_share_it_with_the_same_owners_and_it_outlives_them(driver: NamespaceDriver, volume: Path) -> None:
    specs = [replace(node.new_spec(), volumes=(VolumeMount(volume, path),)) for path in ("/mnt/data", "/home/user/deep/er")]
    for spec in specs:
        await driver.create(spec)
    one, two = (spec.sandbox_id for spec in specs)
    assert (await run(driver, one, "echo hello > /mnt/data/file && mkdir /mnt/data/d && stat -c %U /mnt/data/file")).output == "user\n"
    assert (await run(driver, two, "cat deep/er/file && stat -c %U deep/er/file && echo more >> deep/er/file")).output == "hello\nuser\n"
    assert (await run(driver, one, "cat /mnt/data/file")).output == "hello\nmore\n"
    uid = (await run(driver, one, "id -u")).output
    assert (volume / "file").stat().st_uid == int(uid)  # unshifted, whatever slot it was written from
    for name in (one, two):
        await driver.kill(name)
    assert (volume / "file").read_text() == "hello\nmore\n"
    third = replace(node.new_spec(), volumes=(VolumeMount(volume, "/v"),))
    await driver.create(third)
    assert (await run(driver, third.sandbox_id, "cat /v/file")).output == "hello\nmore\n"
    await driver.kill(third.sandbox_id)


async def test_nothing_left_there_gives_rights_or_leads_out(driver: NamespaceDriver, volume: Path) -> None:
    """Setuid programs, device nodes and links of one sandbox are harmless in the next, and on the node."""
    secret = volume.parent / "secret"
    secret.write_text("the node's")
    spec = replace(node.new_spec(), volumes=(VolumeMount(volume, "/v"),))
    await driver.create(spec)
    script = (
        f"cp /usr/bin/id /v/id && chmod 4755 /v/id; mknod /v/null c 1 3; ln -s {secret} /v/out; ln -s / /v/root; mkfifo /v/pipe; echo made"
    )
    assert (await run(driver, spec.sandbox_id, script, user="root")).output.endswith("made\n")
    assert (await run(driver, spec.sandbox_id, "/v/id -u")).output != "0\n"
    assert "the node's" not in (await run(driver, spec.sandbox_id, "cat /v/out /v/../secret /v/root/../../secret 2>&1")).output
    assert not (volume / "null").exists()
    assert (await run(driver, spec.sandbox_id, "umount /v 2>/dev/null; ls /v/pipe", user="root")).output == "/v/pipe\n"
    await driver.kill(spec.sandbox_id)


async def test_links_of_the_template_stay_inside(driver: NamespaceDriver, volume: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    (layer / "opt").mkdir(parents=True)
    (layer / "opt" / "abs").symlink_to("/srv")
    (layer / "opt" / "up").symlink_to("../../../../../../srv")
    os.chmod(layer, 0o755)
    plain = node.new_spec()
    mounts = (VolumeMount(volume, "/opt/abs/one"), VolumeMount(volume, "/opt/up/two"))
    spec = replace(plain, layers=(*plain.layers, layer), volumes=mounts)
    before = set(os.listdir("/srv"))
    await driver.create(spec)
    assert (await run(driver, spec.sandbox_id, "touch /srv/one/x && ls /srv/two")).output == "x\n"
    await driver.kill(spec.sandbox_id)
    assert set(os.listdir("/srv")) == before


async def test_a_path_that_is_a_file_is_refused_and_leaves_nothing(driver: NamespaceDriver, volume: Path) -> None:
    spec = replace(node.new_spec(), volumes=(VolumeMount(volume, "/etc/passwd"),))
    with pytest.raises(SandbankError, match="Not a directory"):
        await driver.create(spec)
    await driver.kill(spec.sandbox_id)
    assert list(volume.iterdir()) == []
