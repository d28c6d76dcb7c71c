"""Homes of sandboxes, on a file system without quotas: what is there, what is gone, what was never whole."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from sandbank.domain.errors import UnavailableError
from sandbank.runtime.driver import CLOSED, OPEN
from sandbank.runtime.drivers.namespaces.adoption import clear_plain_homes
from sandbank.runtime.drivers.namespaces.home import Homes, Record
from sandbank.runtime.linux import btrfs
from sandbank.runtime.network.egress.record import encode

RECORD = Record("one", "run", 3, 100_196_608, 4711, 123_456, 512 << 20, 1 << 30, encode(OPEN))


@pytest.fixture
def homes(tmp_path: Path) -> Homes:
    homes = Homes(tmp_path / "sandboxes")
    homes.prepare()
    return homes


def test_a_record_is_read_as_it_was_written(homes: Homes) -> None:
    homes.create("one", 1 << 30)
    homes.write_record(RECORD)
    assert homes.records() == [RECORD]


def test_a_record_holds_credentials_and_is_roots_alone(homes: Homes, tmp_path: Path) -> None:
    home = homes.create("one", 1 << 30)
    homes.write_record(RECORD)
    assert (home / "runtime.json").stat().st_mode & 0o777 == 0o600


def test_a_sandbox_whose_policy_is_not_on_record_is_cut_off(homes: Homes) -> None:
    home = homes.create("one", 1 << 30)
    homes.write_record(RECORD)
    document = json.loads((home / "runtime.json").read_text())
    del document["egress"]
    (home / "runtime.json").write_text(json.dumps(document))
    assert [record.egress for record in homes.records()] == [encode(CLOSED)]


def test_homes_without_a_whole_record_are_known_by_name_only(homes: Homes) -> None:
    homes.create("one", 1 << 30)
    (homes.create("two", 1 << 30) / "runtime.json").write_text('{"sandbox_id": "tw')
    (homes.create("three", 1 << 30) / "runtime.json").write_text('{"an": "older form"}')
    assert homes.records() == []
    assert homes.names() == ["one", "three", "two"]


def test_a_name_is_taken_until_it_is_discarded(homes: Homes, tmp_path: Path) -> None:
    (homes.create("one", 1 << 30) / "data" / "file").write_bytes(b"x" * 10_000)
    with pytest.raises(FileExistsError):
        homes.create("one", 1 << 30)
    assert homes.used_bytes("one") >= 10_000
    homes.discard("one")
    homes.discard("one")
    assert homes.names() == []
    homes.create("one", 1 << 30)
    homes.empty_trash()
    assert [path.name for path in (tmp_path / "sandboxes").iterdir()] == ["one"]


def test_a_home_that_cannot_be_whole_is_none(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(parent: Path, name: str) -> Path:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(btrfs, "make_subvolume", refuse)
    homes.limit_from_now_on()
    with pytest.raises(UnavailableError, match="the disk of this node's sandboxes is full"):
        homes.create("one", 1 << 30)
    assert homes.names() == []


def test_a_home_is_discarded_on_a_full_disk(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no space for another name: or killing sandboxes would never make room again."""
    home = homes.create("one", 1 << 30)
    (home / "data" / "file").write_text("x")

    def refuse(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(Path, "rename", refuse)
    homes.discard("one")
    assert homes.names() == []
    assert not home.exists()


def test_a_deep_tree_is_measured_as_far_as_paths_go(homes: Homes) -> None:
    """Deeper than Python recurses and than a path may be long; without quotas its sandbox's statistics ask for it."""
    directory = os.open(homes.create("one", 1 << 30) / "data", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=directory)
        deeper = os.open("d", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = deeper
    os.close(directory)
    assert homes.used_bytes("one") >= 0
    homes.discard("one")
    homes.empty_trash()
    assert homes.names() == []


def test_volumes_are_not_hidden_below_a_file_system_that_comes_later(homes: Homes, tmp_path: Path) -> None:
    """A node that ran without quotas, perhaps for one start, and has them now: its volumes lie beside the homes."""
    homes.create("one", 1 << 30)
    volumes = tmp_path / "sandboxes" / ".volumes"
    volumes.mkdir()
    assert clear_plain_homes(homes) == ""
    (volumes / "kept").mkdir()
    homes.create("two", 1 << 30)
    assert str(volumes) in clear_plain_homes(homes)
    assert (volumes / "kept").is_dir()
