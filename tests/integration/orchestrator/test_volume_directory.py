"""The files of volumes on a node: whatever is planted in a volume, nothing outside is touched (rest-api contract §19)."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from pathlib import Path

import pytest

from sandbank.domain.errors import ConflictError, InvalidError, NotFoundError, SandbankError, UnavailableError
from sandbank.orchestrator.adapters import volume_directory, volume_listing
from sandbank.orchestrator.adapters.volume_directory import VolumeDirectory
from sandbank.orchestrator.core.volumes import Ownership

ID = str(uuid.uuid4())
PLAIN = Ownership()


@pytest.fixture
def volumes(tmp_path: Path) -> VolumeDirectory:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    directory = VolumeDirectory(tmp_path / "volumes", 64)
    directory.create(ID)
    return directory


def write(volumes: VolumeDirectory, path: str, data: bytes = b"x", *, force: bool = False) -> None:
    pending = volumes.begin_write(ID, path, PLAIN, force=force)
    pending.write(data)
    pending.commit()


def read(volumes: VolumeDirectory, path: str) -> bytes:
    with volumes.open(ID, path) as file:
        return file.read()


def test_a_file_is_there_as_a_whole_or_not_at_all(volumes: VolumeDirectory) -> None:
    write(volumes, "/file", b"old")
    pending = volumes.begin_write(ID, "/file", PLAIN, force=True)
    pending.write(b"half of the new")
    assert read(volumes, "/file") == b"old"
    assert [entry.path for entry in volumes.list(ID, "/", 1)] == ["/file"]
    pending.abandon()
    assert read(volumes, "/file") == b"old"
    assert os.listdir(volumes.path_of(ID)) == ["file"]
    with pytest.raises(ConflictError, match="already exists"):
        write(volumes, "/file")
    late = volumes.begin_write(ID, "/race", PLAIN, force=False)
    write(volumes, "/race", b"first")
    with pytest.raises(ConflictError, match="already exists"):
        late.commit()
    assert read(volumes, "/race") == b"first"


@pytest.mark.parametrize("path", ["", "/", "//", "/.", "/a/..", "..", "/../.."])
def test_the_root_is_no_file_and_stays(volumes: VolumeDirectory, path: str) -> None:
    with pytest.raises(InvalidError):
        volumes.remove(ID, path)
    with pytest.raises(InvalidError):
        volumes.begin_write(ID, path, PLAIN, force=True)
    assert volumes.stat(ID, path).path == "/"


@pytest.mark.parametrize("path", ["/a\0b", "/" + "x" * 5000, "/" + "x" * 300])
def test_paths_that_no_file_can_have(volumes: VolumeDirectory, path: str) -> None:
    for call in (lambda: volumes.stat(ID, path), lambda: write(volumes, path), lambda: volumes.remove(ID, path)):
        with pytest.raises(InvalidError):
            call()


@pytest.mark.parametrize("volume_id", ["", "..", "../outside", ID.upper(), f"{ID}/x", f"{ID}\n"])
def test_an_id_leads_to_a_volume_or_nowhere(volumes: VolumeDirectory, volume_id: str) -> None:
    with pytest.raises(InvalidError):
        volumes.stat(volume_id, "/")
    with pytest.raises(InvalidError):
        volumes.create(volume_id)
    with pytest.raises(NotFoundError):
        volumes.stat(str(uuid.uuid4()), "/")


def test_links_are_followed_inside_only(volumes: VolumeDirectory, tmp_path: Path) -> None:
    top, outside = volumes.path_of(ID), tmp_path / "outside"
    (top / "abs").symlink_to(outside / "secret")
    (top / "up").symlink_to("../../outside")
    (top / "fine").symlink_to("/dir/real")
    (top / "dir").mkdir()
    (top / "dir" / "real").write_text("real")
    (top / "loop").symlink_to("loop")
    (top / "proc").symlink_to("/proc/self/root")
    assert read(volumes, "/fine") == b"real"
    for path in ("/abs", "/up/secret", "/loop", "/loop/x", "/proc/etc/passwd"):
        with pytest.raises(SandbankError):
            read(volumes, path)
    assert volumes.stat(ID, "/abs").target == str(outside / "secret")
    volumes.change(ID, "/abs", Ownership(mode=0o777, uid=1234))
    assert (outside / "secret").stat().st_uid != 1234
    for path in ("/up/new", "/proc/tmp/new"):
        with pytest.raises(SandbankError):
            write(volumes, path)
    volumes.remove(ID, "/up")
    assert (outside / "secret").read_text() == "secret"
    volumes.remove(ID, "/dir")
    assert not (top / "dir").exists()


def test_a_directory_swapped_for_a_link_amid_everything_leads_nowhere(volumes: VolumeDirectory, tmp_path: Path) -> None:
    """A sandbox can rename at any moment: 2,000 times while files are written, changed, listed and removed."""
    top, outside = volumes.path_of(ID), tmp_path / "outside"
    (top / "real").mkdir()
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError):  # a directory may be made in its place meanwhile
                os.rename(top / "real", top / "aside")
            with contextlib.suppress(OSError):
                os.symlink(outside, top / "real")
            with contextlib.suppress(OSError):
                os.unlink(top / "real")
            with contextlib.suppress(OSError):
                os.rename(top / "aside", top / "real")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for number in range(2000):
            for call in (
                lambda: write(volumes, "/real/planted", force=True),
                lambda: volumes.change(ID, "/real/secret", Ownership(mode=0o600, uid=1234)),
                lambda: volumes.make_directory(ID, "/real/deep/er", PLAIN, parents=True),
                lambda: volumes.list(ID, "/real", 3),
                lambda path=f"/real/{('secret', 'deep')[number % 2]}": volumes.remove(ID, path),
            ):
                try:
                    call()
                except SandbankError:
                    continue
    finally:
        done.set()
        swapper.join()
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").stat().st_uid != 1234


def test_deleting_one_leaves_the_others(volumes: VolumeDirectory) -> None:
    other = str(uuid.uuid4())
    volumes.create(other)
    write(volumes, "/deep/er/file", force=True)
    volumes.delete(ID)
    volumes.delete(ID)
    with pytest.raises(NotFoundError):
        volumes.stat(ID, "/")
    assert volumes.stat(other, "/").kind == "directory"


def test_names_need_not_be_text(volumes: VolumeDirectory) -> None:
    os.mkdir(os.fsencode(volumes.path_of(ID)) + b"/\xff\xfe")
    (entry,) = volumes.list(ID, "/", 10)
    assert os.fsencode(entry.name) == b"\xff\xfe"
    volumes.remove(ID, entry.path)
    assert volumes.list(ID, "/", 1) == []


@pytest.mark.parametrize("seconds", [2**40, -(2**40)])
def test_a_file_of_another_age_is_shown(volumes: VolumeDirectory, seconds: int) -> None:
    """`touch -d` inside a sandbox takes any year, where the file system has room for it."""
    write(volumes, "/file")
    os.utime(volumes.path_of(ID) / "file", (seconds, seconds))
    (entry,) = volumes.list(ID, "/", 1)
    assert entry.modified_at.year in (1, 9999) or abs(os.stat(volumes.path_of(ID) / "file").st_mtime) < abs(seconds)


def test_a_listing_is_bounded_before_it_is_made(volumes: VolumeDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sandbox can plant there, a hundred thousand links of 4 KiB or millions of names, must not fill the node's memory."""
    monkeypatch.setattr(volume_listing, "_MAX_LIST_TEXT", 10_000)
    monkeypatch.setattr(volume_listing, "_MAX_ENTRIES", 10)
    top = volumes.path_of(ID)
    for number in range(3):
        os.symlink("x" * 4000, top / f"link{number}")
    with pytest.raises(InvalidError, match="too long"):
        volumes.list(ID, "/", 1)
    looked_at: list[str] = []
    monkeypatch.setattr(volume_listing, "describe", lambda path, *_: looked_at.append(path))
    for number in range(9):
        (top / f"file{number}").touch()
    with pytest.raises(InvalidError, match="more than 10 entries"):
        volumes.list(ID, "/", 1)
    assert looked_at == []


@pytest.mark.parametrize("path", ["/", "/tree"])
def test_what_is_written_to_all_the_while_is_given_up_and_keeps_its_name(
    volumes: VolumeDirectory, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(volumes, "/tree/file", force=True)
    monkeypatch.setattr(volume_directory, "_REMOVAL_SECONDS", -1.0)
    with pytest.raises(UnavailableError, match="busy"):
        volumes.delete(ID) if path == "/" else volumes.remove(ID, path)
    assert read(volumes, "/tree/file") == b"x"
    monkeypatch.undo()
    volumes.remove(ID, "/tree")
    volumes.delete(ID)
