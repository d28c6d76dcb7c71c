"""Trees that were made to break whoever removes them."""

from __future__ import annotations

import os
from pathlib import Path

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
    (top / "inner" / f".pending-{os.getpid()}-0").mkdir()
    (top / "inner" / f".pending-{os.getpid()}-0" / "x").mkdir()
    remove_tree(top)
    assert not top.exists()
    assert (kept / "file").read_text() == "stays"


def test_a_link_in_place_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    (tmp_path / "top").symlink_to(kept)
    remove_tree(tmp_path / "top")
    assert (kept / "inner").is_dir()


def test_a_deep_home_keeps_no_other_in_the_trash(tmp_path: Path) -> None:
    homes = Homes(tmp_path / "sandboxes")
    homes.prepare()
    for name in ("one", "two", "three"):
        home = homes.create(name, 1 << 30)
        _dig(home / "data", 1500)
        homes.discard(name)
    homes.empty_trash()
    assert list((tmp_path / "sandboxes").iterdir()) == []
