"""Archives that clients upload: whole or not there."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbank.domain.errors import ExhaustedError, InvalidError
from sandbank.template_manager.adapters.uploaded_files import UploadedFiles

HASH = "b" * 64


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _broken() -> AsyncIterator[bytes]:
    yield b"abc"
    raise LookupError("gone")


async def _read(files: UploadedFiles) -> bytes | None:
    path = files.find("team", HASH)
    return None if path is None else b"".join([piece async for piece in files.read(path)])


@pytest.fixture
def files(tmp_path: Path) -> UploadedFiles:
    return UploadedFiles(tmp_path, max_bytes=100)


async def test_what_came_whole_is_there_for_its_team(files: UploadedFiles) -> None:
    assert await _read(files) is None
    await files.write("team", HASH, 6, _pieces(b"abc", b"", b"def"))
    assert await _read(files) == b"abcdef"
    assert files.find("others", HASH) is None


@pytest.mark.parametrize(
    ("size", "content", "error"),
    [
        (5, _pieces(b"abc"), InvalidError),
        (2, _pieces(b"abc"), InvalidError),
        (101, _pieces(b""), ExhaustedError),
        (6, _broken(), LookupError),
    ],
    ids=["short", "long", "too much", "broken off"],
)
async def test_what_did_not_changes_nothing(
    files: UploadedFiles, tmp_path: Path, size: int, content: AsyncIterator[bytes], error: type[Exception]
) -> None:
    await files.write("team", HASH, 3, _pieces(b"old"))
    with pytest.raises(error):
        await files.write("team", HASH, size, content)
    assert await _read(files) == b"old"
    assert [path.name for path in (tmp_path / "files" / "team").iterdir()] == [f"{HASH}.tar"]


async def test_two_uploads_of_one_archive_do_not_mix(files: UploadedFiles) -> None:
    await asyncio.gather(*(files.write("team", HASH, 90, _pieces(*[letter * 10] * 9)) for letter in (b"x", b"y", b"z")))
    found = await _read(files)
    assert found in (b"x" * 90, b"y" * 90, b"z" * 90)


async def test_the_key_stays_and_is_nobodys_to_read(files: UploadedFiles, tmp_path: Path) -> None:
    assert files.key() == UploadedFiles(tmp_path, 1).key()
    assert (tmp_path / "files" / "key").stat().st_mode & 0o777 == 0o600


async def test_what_nobody_uses_goes(files: UploadedFiles, tmp_path: Path) -> None:
    await files.write("team", HASH, 1, _pieces(b"x"))
    path = tmp_path / "files" / "team" / f"{HASH}.tar"
    (path.parent / ".uploading-x").touch()
    files.sweep()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    os.utime(path, (0, time.time() - 15 * 24 * 3600))
    assert files.find("team", HASH) == path, "asking for it is using it"
    files.sweep()
    assert path.exists()
    os.utime(path, (0, time.time() - 15 * 24 * 3600))
    files.sweep()
    assert not path.exists()
