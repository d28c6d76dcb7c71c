"""Which of the node's files a process may have mapped when its memory is saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.runtime.drivers.namespaces.checkpoint import _below
from sandbank.runtime.snapshot.tree import OutsideFile

PLACES = ("bundles/abc/", "heaps/")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    file = tmp_path / "bundles/abc/lib/libc.so"
    file.parent.mkdir(parents=True)
    file.write_text("")
    return file


def told(path: str, file: Path) -> OutsideFile:
    status = file.stat()
    return OutsideFile(path, status.st_dev, status.st_ino)


def test_one_of_the_bundle_by_whichever_mount(tmp_path: Path, library: Path) -> None:
    assert _below(tmp_path, told(str(library), library), PLACES) == "bundles/abc/lib/libc.so"
    assert _below(tmp_path, told("/bundles/abc/lib/libc.so", library), PLACES) == "bundles/abc/lib/libc.so"
    assert _below(tmp_path, told("/volumes/x/bundles/abc/lib/libc.so", library), PLACES) == "bundles/abc/lib/libc.so"


def test_another_file_of_that_name_is_none_of_it(tmp_path: Path, library: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    assert _below(tmp_path, told("/bundles/abc/lib/libc.so", other), PLACES) is None
    assert _below(tmp_path, told("/bundles/abc/lib/absent.so", other), PLACES) is None
    assert _below(tmp_path, told("/etc/passwd", library), PLACES) is None
