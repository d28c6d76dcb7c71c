"""Trees that were made to break whoever removes them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sandbank.runtime.drivers.namespaces.home import Homes
from sandbank.runtime.linux.trees import remove_tree


def _dig(top: Path, depth: int) -> None:
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d" * 100, dir_fd=descriptor)
        Path(f"/proc/self/fd/{descriptor}/file").write_bytes(b"x")
        inner = os.open("d" * 100, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def test_depth_beyond_recursion_and_path_limits(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    _dig(top, 3000)
    remove_tree(top)
    assert not top.exists()


def test_links_lead_nowhere_and_any_name_goes(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("stays")
    top = tmp_path / "top"
    (top / "inner" / "more").mkdir(parents=True)
    (top / "link").symlink_to(kept)
    (top / "inner" / "link").symlink_to(kept)
    (top / "inner" / "more" / "loop").symlink_to("../more")
    os.mkfifo(top / "inner" / "pipe")
    os.link(kept / "file", top / "inner" / "hard")
    Path(os.fsdecode(bytes(top) + b"/inner/\xff\n")).mkdir()
    Path(os.fsdecode(bytes(top) + b"/inner/\xff\n/x")).write_text("")
    (top / ".pending-0" / "x").mkdir(parents=True)
    remove_tree(top)
    assert not top.exists()
    assert (kept / "file").read_text() == "stays"


def test_a_link_in_place_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    (tmp_path / "top").symlink_to(kept)
    remove_tree(tmp_path / "top")
    assert (kept / "inner").is_dir()


def test_several_that_remove_the_same_tree_leave_nothing_between_them(tmp_path: Path) -> None:
    """Each kill empties the trash, and so does the end of the driver: nobody comes after that one."""
    for number in range(30):
        top = tmp_path / str(number)
        for place in (top / "data" / f"{x}" / f"{y}" for x in range(6) for y in range(5)):
            (place / "deeper" / "still").mkdir(parents=True)
        threads = [threading.Thread(target=remove_tree, args=(top,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not top.exists()


def test_a_tree_that_grows_faster_than_it_is_removed_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox that has a volume mounted may write to it for ever; whoever deletes the volume must not try as long."""
    top = tmp_path / "top"
    top.mkdir()
    listdir, made = os.listdir, iter(range(10**9))

    def grow(directory: int) -> list[str]:
        (top / f"new{next(made)}" / "full").mkdir(parents=True)
        return listdir(directory)

    monkeypatch.setattr(os, "listdir", grow)
    removal = threading.Thread(target=remove_tree, args=(top, 0.2), daemon=True)
    removal.start()
    removal.join(10)
    assert not removal.is_alive()
    monkeypatch.undo()
    remove_tree(top)
    assert not top.exists()


def test_a_deep_home_keeps_no_other_in_the_trash(tmp_path: Path) -> None:
    homes = Homes(tmp_path / "sandboxes")
    homes.prepare()
    for name in ("one", "two", "three"):
        home = homes.create(name, 1 << 30)
        _dig(home / "data", 1500)
        homes.discard(name)
    homes.empty_trash()
    assert list((tmp_path / "sandboxes").iterdir()) == []
