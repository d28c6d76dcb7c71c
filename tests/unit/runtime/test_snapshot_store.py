"""Snapshots on disk are complete or absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbank.domain.errors import InternalError, InvalidError
from sandbank.runtime.snapshot.store import SnapshotFacts, SnapshotStore


def _facts(snapshot_id: str) -> SnapshotFacts:
    return SnapshotFacts(
        snapshot_id=snapshot_id,
        sandbox_id="isandbox",
        base_uid=100_000_000,
        address="10.0.0.2",
        bundle="bundle",
        layers=("/layer",),
        volumes=(),
        mounts=("mnt[/dev]:dev",),
        files={"file[1:2]": "lib/libc.so.6"},
        memory_limit_bytes=1 << 20,
        disk_limit_bytes=1 << 20,
        used_bytes=10,
        cpu_count=2,
        agent_token=None,
        addresses=("10.0.0.6",),
    )


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / ".snapshots")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "home" / "data"
    (data / "upper" / "deep").mkdir(parents=True)
    (data / "upper" / "deep" / "file").write_text("kept")
    (data / "upper" / "link").symlink_to("/nowhere")
    os.mknod(data / "upper" / "whiteout", 0o600 | 0o020000, 0)
    return data


def _publish(store: SnapshotStore, data: Path, snapshot_id: str = "one") -> None:
    (store.begin(snapshot_id) / "core-1.img").write_bytes(b"image")
    store.take_files(snapshot_id, data)
    store.publish(_facts(snapshot_id))


def test_what_was_published_is_found_with_files_and_memory(store: SnapshotStore, data: Path) -> None:
    assert store.find("one") is None
    _publish(store, data)
    assert store.find("one") == _facts("one")
    assert store.names() == ["one"]
    upper = store.data("one") / "upper"
    assert (upper / "deep" / "file").read_text() == "kept"
    assert (upper / "link").readlink() == Path("/nowhere")
    assert (upper / "whiteout").stat().st_rdev == 0
    assert (store.memory("one") / "core-1.img").read_bytes() == b"image"
    assert store.data("one").parent.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_begun_is_not_there_and_is_swept_away(store: SnapshotStore, data: Path, tmp_path: Path) -> None:
    store.begin("one")
    store.take_files("one", data)
    assert (store.find("one"), store.names()) == (None, [])
    store.begin("two")
    store.abandon("two")
    store.sweep()
    assert list((tmp_path / ".snapshots").iterdir()) == []


def test_another_of_the_same_name_takes_its_place(store: SnapshotStore, data: Path) -> None:
    _publish(store, data)
    (data / "upper" / "deep" / "file").write_text("newer")
    _publish(store, data)
    assert (store.data("one") / "upper" / "deep" / "file").read_text() == "newer"


def test_removing_is_idempotent(store: SnapshotStore, data: Path) -> None:
    _publish(store, data)
    store.remove("one")
    store.remove("one")
    assert store.find("one") is None


@pytest.mark.parametrize("name", ["", "..", "a/b", ".making-x", "a" * 200])
def test_a_name_leads_nowhere_else(store: SnapshotStore, name: str) -> None:
    with pytest.raises(InvalidError):
        store.begin(name)
    assert store.find(name) is None
    store.remove(name)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 99}', '{"format_version": 1}'])
def test_a_damaged_one_is_an_error_and_not_absent(store: SnapshotStore, data: Path, text: str) -> None:
    _publish(store, data)
    (store.data("one").parent / "snapshot.json").write_text(text)
    with pytest.raises(InternalError, match="snapshot one"):
        store.find("one")
