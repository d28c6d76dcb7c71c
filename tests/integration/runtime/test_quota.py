"""What a sandbox writes is limited, counted, and given back."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbank.domain.errors import ExhaustedError, InvalidError
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
from sandbank.runtime.linux import mounts
from sandbank.runtime.quota.volume import Volume, VolumeError
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

_LIMIT_MIB = 64
_SLACK_BYTES = 1 << 20


@pytest.fixture
async def victim(driver: NamespaceDriver) -> AsyncIterator[str]:
    """A sandbox with a small disk."""
    spec = node.new_spec()
    spec = dataclasses.replace(spec, limits=dataclasses.replace(spec.limits, disk_mib=_LIMIT_MIB))
    await driver.create(spec)
    yield spec.sandbox_id
    await driver.kill(spec.sandbox_id)


async def test_a_full_disk_is_one_sandboxs_own(driver: NamespaceDriver, victim: str, sandbox_id: str) -> None:
    result = await run(driver, victim, "dd if=/dev/zero of=/tmp/big bs=1M count=100 2>&1; sync /tmp/big; stat -c %s /tmp/big", "root")
    assert "Disk quota exceeded" in result.output
    assert int(result.output.split()[-1]) <= _LIMIT_MIB << 20
    assert (_LIMIT_MIB << 20) - 4 * _SLACK_BYTES <= (await driver.stats(victim)).disk_bytes <= _LIMIT_MIB << 20
    neighbour = await run(driver, sandbox_id, "dd if=/dev/zero of=/tmp/big bs=1M count=100 2>/dev/null; stat -c %s /tmp/big")
    assert neighbour.output.strip() == str(100 << 20)
    # A full disk can be emptied again from inside, and then be used.
    assert (await run(driver, victim, "rm /tmp/big && sync && echo again > /tmp/small && cat /tmp/small", "root")).output == "again\n"
    assert (await driver.stats(victim)).disk_bytes < 4 * _SLACK_BYTES


async def test_space_cannot_be_had_by_other_means(driver: NamespaceDriver, victim: str) -> None:
    for command in (
        "fallocate -l 100M /tmp/reserved",
        'python3 -c \'import os; [open(f"/tmp/{i}", "w").write("x" * 3000) for i in range(40000)]\'',
        "mkdir /tmp/deep && for i in $(seq 400); do cp -r /usr/lib/python3.11 /tmp/deep/$i || exit 1; done",
    ):
        result = await run(driver, victim, f"({command}) >/dev/null 2>/tmp/why && echo done || (tail -n 1 /tmp/why; rm -rf /tmp/*)", "root")
        assert "done" not in result.output, command
        assert (await driver.stats(victim)).disk_bytes <= _LIMIT_MIB << 20


async def test_an_upload_beyond_the_limit_says_so(driver: NamespaceDriver, victim: str) -> None:
    answer = await asyncio.to_thread(_upload, driver, victim, (_LIMIT_MIB + 16) << 20)
    assert answer[0] == 507, answer
    assert (await run(driver, victim, "rm -f /home/user/upload; echo well")).output == "well\n"


async def test_the_space_of_a_killed_sandbox_is_free_again(driver: NamespaceDriver) -> None:
    before = _used_bytes()
    spec = node.new_spec()
    await driver.create(spec)
    await run(driver, spec.sandbox_id, "dd if=/dev/urandom of=/tmp/big bs=1M count=50 2>/dev/null; sync /tmp/big")
    assert _used_bytes() > before + (40 << 20)
    await driver.kill(spec.sandbox_id)
    async with asyncio.timeout(60):
        while _used_bytes() > before + (20 << 20):  # what is awaited happens in the kernel
            subprocess.run(["btrfs", "filesystem", "sync", str(node.DATA_DIR / "sandboxes")], check=True)
            await asyncio.sleep(0.2)


async def test_a_start_uses_what_is_mounted() -> None:
    first, second = node.make_driver(), node.make_driver()
    await first.start(lambda ended: None)
    spec = node.new_spec()
    await first.create(spec)
    mounted = _mount_of(node.DATA_DIR / "sandboxes")
    await first.close()
    assert _mount_of(node.DATA_DIR / "sandboxes") == mounted
    report = await second.start(lambda ended: None)
    assert (report.adopted, report.warnings) == ((spec.sandbox_id,), ())
    assert _mount_of(node.DATA_DIR / "sandboxes") == mounted
    assert "Disk quota exceeded" in (await run(second, spec.sandbox_id, "fallocate -l 1G /tmp/reserved 2>&1")).output
    await second.kill(spec.sandbox_id)
    await second.close()
    assert _mount_of(node.DATA_DIR / "sandboxes") == ""


async def test_without_quotas_sandboxes_run_and_the_start_says_so() -> None:
    first = NamespaceDriver(dataclasses.replace(node.LAYOUT, sandbox_disk_mib=0), NamespaceSettings(free_slots=1))
    (warning,) = (await first.start(lambda ended: None)).warnings
    assert "quotas" in warning
    spec = node.new_spec()
    await first.create(spec)
    assert (await first.stats(spec.sandbox_id)).disk_bytes > 0
    await first.close()
    # A node that could have quotas now does not hide the files of a sandbox that runs.
    second = node.make_driver()
    report = await second.start(lambda ended: None)
    assert report.adopted == (spec.sandbox_id,)
    assert "none running" in report.warnings[0]
    assert (await run(second, spec.sandbox_id, "echo here > /tmp/f; cat /tmp/f")).output == "here\n"
    await second.kill(spec.sandbox_id)
    await second.close()
    third = node.make_driver()
    assert (await third.start(lambda ended: None)).warnings == ()
    await third.close()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for sandboxes, not mounted after the test."""
    directory = tmp_path / "sandboxes"
    directory.mkdir()
    yield directory
    while directory.is_mount():
        mounts.unmount(str(directory))


def test_an_image_is_made_once_and_mounted_again(directory: Path) -> None:
    volume = Volume(directory, 512)
    volume.open()
    (directory / "file").write_text("kept")
    volume.close()
    assert not volume.is_mounted
    assert not (directory / "file").exists()
    again = Volume(directory, 1024)
    again.open()
    again.open()
    assert (directory / "file").read_text() == "kept"
    assert shutil.disk_usage(directory).total == 512 << 20
    assert _mount_of(directory).count("\n") == 0
    (directory / "file").unlink()
    again.close()
    assert str(volume.image) not in subprocess.run(["losetup", "--list"], capture_output=True, text=True, check=True).stdout


def test_a_volume_in_use_stays(directory: Path) -> None:
    volume = Volume(directory, 512)
    volume.open()
    with (directory / "file").open("w"):
        volume.close()
        assert volume.is_ready


def test_an_interrupted_start_leaves_nothing_in_the_way(directory: Path) -> None:
    """Killed while the image was made, and killed between its device and its mount."""
    volume = Volume(directory, 512)
    volume.image.with_name(".sandboxes.btrfs.new").write_bytes(b"half")
    volume.open()
    volume.close()
    device = subprocess.run(["losetup", "--find", "--show", str(volume.image)], capture_output=True, text=True, check=True).stdout.strip()
    volume.open()
    assert volume.is_ready
    assert device in _mount_of(directory)
    volume.close()
    assert sorted(path.name for path in directory.parent.iterdir()) == ["sandboxes", "sandboxes.btrfs"]


def test_a_damaged_image_is_reported(directory: Path) -> None:
    volume = Volume(directory, 512)
    volume.image.write_bytes(bytes(1 << 20))
    with pytest.raises(VolumeError, match="mount"):
        volume.open()
    assert not volume.is_mounted


def test_sizes_that_cannot_be(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidError, match="SANDBANK_SANDBOX_DISK_MIB"):
        Volume(directory, 100).open()
    usage = shutil.disk_usage(directory)._replace(free=100 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ExhaustedError, match="make room"):
        Volume(directory).open()
    assert not Volume(directory).image.exists()


def test_a_node_without_the_tools_says_which(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program, path: None)
    with pytest.raises(VolumeError, match="btrfs-progs"):
        Volume(directory, 512).open()


def _upload(driver: NamespaceDriver, sandbox_id: str, size: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("sandbox", timeout=60)
    connection.sock = driver.dial(sandbox_id, 49983)
    connection.sock.settimeout(60)
    try:
        headers = {"content-type": "application/octet-stream"}
        connection.request("POST", "/files?path=/home/user/upload&username=user", bytes(size), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _used_bytes() -> int:
    return shutil.disk_usage(node.DATA_DIR / "sandboxes").used


def _mount_of(directory: Path) -> str:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.split()[4] == str(directory))
