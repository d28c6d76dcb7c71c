"""The real CRIU of this machine, asked by way of its protocol to save a process and to bring it back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbank.contracts.criu_rpc import CRIU_CGROUPS_IGNORE, CRIU_DUMP, CRIU_LOCK_SKIP, CRIU_RESTORE, CRIU_VERSION, CriuOptions
from sandbank.runtime.snapshot import criu
from sandbank.runtime.snapshot.criu_program import find_criu

# Says again and again what only its memory holds, and how often it has done so.
_PROGRAM = """
import os, sys, time
secret, count = os.urandom(16).hex(), 0
told = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
exec(sys.argv[2])
while True:
    count += 1
    os.pwrite(told, b"%s %20d" % (secret.encode(), count), 0)
    time.sleep(0.01)
"""
_DELETED_FILE = "file = open(sys.argv[1] + '.big', 'wb'); file.write(b'x' * 2_000_000); file.flush(); os.unlink(file.name)"


@dataclass
class Counting:
    directory: Path
    process: subprocess.Popen[bytes]

    def told(self) -> tuple[str, int]:
        secret, _, count = (self.directory / "told").read_text().partition(" ")
        return secret, int(count or 0)

    async def progress(self) -> tuple[str, int]:
        """What it tells once it has counted on."""
        async with asyncio.timeout(30):
            before = self.told() if (self.directory / "told").exists() else ("", 0)
            while not (self.directory / "told").exists() or self.told()[1] in (0, before[1]):
                await asyncio.sleep(0.02)
        return self.told()

    async def ask(self, options: CriuOptions, on_notice: criu.OnNotice = criu.no_notice, seconds: float = 60) -> int:
        found = find_criu(None)
        assert found.usable_path is not None, f"CRIU: {found.problem} ({found.fix})"
        images = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            options.MergeFrom(CriuOptions(images_dir_fd=images, log_file="log", log_level=4, notify_scripts=True))
            options.MergeFrom(CriuOptions(images_dir_fd=images, network_lock=CRIU_LOCK_SKIP, manage_cgroups_mode=CRIU_CGROUPS_IGNORE))
            kind = CRIU_DUMP if options.pid else CRIU_RESTORE
            command, log = [str(found.usable_path)], self.directory / "log"
            response = await criu.run(command, kind, options, on_notice, log, deadline_seconds=seconds)
            return response.restore.pid
        finally:
            os.close(images)


@contextlib.asynccontextmanager
async def _counting(directory: Path, also: str = "") -> AsyncIterator[Counting]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(directory / "told"), also],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        yield Counting(directory, process)
    finally:
        process.kill()
        process.wait()


async def test_a_process_goes_on_with_its_memory(tmp_path: Path) -> None:
    heard = []

    async def on_notice(name: str, pid: int) -> None:
        heard.append(name)

    async with _counting(tmp_path) as counting:
        secret, _ = await counting.progress()
        await counting.ask(CriuOptions(images_dir_fd=-1, pid=counting.process.pid), on_notice)
        assert counting.process.wait(10) == -signal.SIGKILL
        _, count = counting.told()
        (tmp_path / "told").write_text(" " * (tmp_path / "told").stat().st_size)
        pid = await counting.ask(CriuOptions(images_dir_fd=-1), on_notice)
        try:
            assert pid == counting.process.pid
            assert heard == ["pre-dump", "query-ext-files", "post-dump", "pre-restore", "post-restore", "pre-resume", "post-resume"]
            now, later = await counting.progress()
            assert now == secret
            assert later > count
        finally:
            os.kill(pid, signal.SIGKILL)


async def test_what_cannot_be_saved_is_named_and_runs_on(tmp_path: Path) -> None:
    async with _counting(tmp_path, _DELETED_FILE) as counting:
        secret, _ = await counting.progress()
        with pytest.raises(criu.CriuError, match=r"a deleted file of 20\d+ bytes is still open: .*told\.big"):
            await counting.ask(CriuOptions(images_dir_fd=-1, pid=counting.process.pid))
        assert (await counting.progress())[0] == secret


@pytest.mark.parametrize("moment", ["pre-dump", "post-dump"])
async def test_a_process_survives_that_its_dump_takes_too_long(tmp_path: Path, moment: str) -> None:
    async def on_notice(name: str, pid: int) -> None:
        if name == moment:
            await asyncio.Event().wait()

    async with _counting(tmp_path) as counting:
        secret, _ = await counting.progress()
        with pytest.raises(criu.CriuDeadlineError):
            await counting.ask(CriuOptions(images_dir_fd=-1, pid=counting.process.pid), on_notice, seconds=2)
        assert (await counting.progress())[0] == secret


async def test_a_restore_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    async def on_notice(name: str, pid: int) -> None:
        if name == "post-restore":
            await asyncio.Event().wait()

    async with _counting(tmp_path) as counting:
        await counting.progress()
        await counting.ask(CriuOptions(images_dir_fd=-1, pid=counting.process.pid))
        counting.process.wait(10)
        with pytest.raises(criu.CriuDeadlineError):
            await counting.ask(CriuOptions(images_dir_fd=-1), on_notice, seconds=3)
        assert not _is_alive(counting.process.pid)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_says_by_its_protocol_what_it_says_in_words(tmp_path: Path) -> None:
    found = find_criu(None)
    assert found.usable_path is not None, f"CRIU: {found.problem} ({found.fix})"
    response = await criu.run([str(found.usable_path)], CRIU_VERSION, CriuOptions(images_dir_fd=-1), criu.no_notice, tmp_path / "log")
    assert found.version.startswith(f"{response.version.major_number}.{response.version.minor_number}")
