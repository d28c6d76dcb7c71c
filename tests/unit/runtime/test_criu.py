"""What is said to CRIU and what is made of its answers, its ends and its silence; a small script plays CRIU."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbank.contracts.criu_rpc import CRIU_DUMP, CRIU_RESTORE, CriuInheritFd, CriuOptions, CriuRequestType, CriuResponse
from sandbank.runtime.snapshot import criu
from tests.unit.runtime import fake_criu


@dataclass
class Images:
    directory: Path
    descriptor: int

    async def run(
        self,
        mode: str,
        kind: CriuRequestType = CRIU_DUMP,
        on_notice: criu.OnNotice = criu.no_notice,
        seconds: float = 30,
        files: tuple[int, ...] = (),
    ) -> CriuResponse:
        inherited = [CriuInheritFd(key="pipe:[1]", fd=number) for number in files]
        options = CriuOptions(images_dir_fd=self.descriptor, log_file="dump.log", pid=1, inherit_fd=inherited)
        command = [sys.executable, str(Path(fake_criu.__file__)), mode]
        log = self.directory / "dump.log"
        return await criu.run(command, kind, options, on_notice, log, deadline_seconds=seconds, descriptors=files)

    async def child(self) -> int:
        while not (path := self.directory / "child").exists() or not path.read_text():
            await asyncio.sleep(0.01)
        return int(path.read_text())


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield Images(tmp_path, descriptor)
    os.close(descriptor)


async def test_every_notice_is_answered_before_the_result(images: Images) -> None:
    heard = []

    async def on_notice(name: str, pid: int) -> None:
        heard.append((name, pid))

    response = await images.run("notices", CRIU_RESTORE, on_notice)
    assert heard == [("pre-dump", 42), ("post-dump", 42), ("network-unlock", 42)]
    assert response.restore.pid == 43


async def test_an_error_in_a_notice_stops_criu_and_is_raised_when_it_has_undone_its_work(images: Images) -> None:
    heard = []

    async def on_notice(name: str, pid: int) -> None:
        heard.append(name)
        if name == "post-dump":
            raise LookupError("not this time")

    with pytest.raises(LookupError, match="not this time"):
        await images.run("notices", CRIU_DUMP, on_notice)
    assert heard[-1] == "network-unlock"


async def test_a_refusal_is_explained_from_the_log(images: Images) -> None:
    with pytest.raises(criu.CriuError, match=r"^a device is open: 10:229$"):
        await images.run("Can't dump file 3 of that type [20600] (chr 10:229)")


async def test_a_full_disk_is_an_error_of_its_own(images: Images) -> None:
    with pytest.raises(criu.CriuSpaceError, match="No space left"):
        await images.run("Can't write 12 bytes: No space left on device")


async def test_a_criu_that_dies_is_an_error_with_its_last_words(images: Images) -> None:
    with pytest.raises(criu.CriuError, match=r"ended without an answer: libfoo.so.1: cannot open shared object file"):
        await images.run("dies")


async def test_a_criu_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(criu.CriuError, match="cannot be started: No such file"):
        await criu.run([str(tmp_path / "criu")], CRIU_DUMP, CriuOptions(images_dir_fd=-1), criu.no_notice, tmp_path / "log")


async def test_what_takes_too_long_is_ended(images: Images) -> None:
    with pytest.raises(criu.CriuDeadlineError, match="in 1 seconds"):
        await images.run("hangs", seconds=1)


async def test_the_cancelled_leave_nothing_running_not_even_in_other_sessions(images: Images) -> None:
    running = asyncio.ensure_future(images.run("hangs"))
    child = await images.child()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not _is_alive(child)


async def test_criu_finds_descriptors_under_their_numbers(images: Images) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through the pipe")
    await images.run("reads", files=(reading,))
    assert (images.directory / "read").read_text() == "through the pipe"
    os.close(reading)
    os.close(writing)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
