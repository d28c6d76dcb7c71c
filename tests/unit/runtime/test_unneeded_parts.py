"""A node lets go of layers and bundles that nothing refers to, and of no others (design: artefacts)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbank.artifacts.builds import Build, BuildStore
from sandbank.domain.errors import InternalError
from sandbank.runtime.drivers.namespaces.home import Homes
from sandbank.runtime.drivers.namespaces.saves import Saves
from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
from sandbank.runtime.snapshot import unneeded_parts
from sandbank.runtime.snapshot.store import SnapshotFacts, SnapshotStore
from sandbank.runtime.snapshot.unneeded_parts import remove_unneeded


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    """Of a node where a build has `l-build`, a snapshot `l-saved`, `b-saved` and a file of `b-mapped`."""
    for name in ("build", "saved", "running", "unneeded"):
        (tmp_path / "artifacts" / "layers" / f"l-{name}" / "deep").mkdir(parents=True)
    for name in ("saved", "mapped", "running", "current", "unneeded", ".making"):
        (tmp_path / "bundles" / f"{'' if name[0] == '.' else 'b-'}{name}" / "lib").mkdir(parents=True)
    builds = BuildStore(tmp_path / "artifacts")
    builds.publish(Build("build", "template", (builds.layers_dir / "l-build",)))
    store = SnapshotStore(tmp_path / ".snapshots")
    facts = SnapshotFacts(
        snapshot_id="saved",
        sandbox_id="isandbox",
        base_uid=0,
        address="",
        bundle="b-saved",
        layers=(str(builds.layers_dir / "l-saved"),),
        volumes=(),
        mounts=(),
        files={"key": "bundles/b-mapped/lib/libc.so.6", "other": "heaps/h"},
        memory_limit_bytes=0,
        disk_limit_bytes=0,
        used_bytes=0,
        cpu_count=1,
        agent_token=None,
    )
    (tmp_path / "data").mkdir()
    store.begin("saved")
    store.take_files("saved", tmp_path / "data")
    store.publish(facts)
    return store


@pytest.fixture
def remove(store: SnapshotStore, tmp_path: Path) -> Callable[[], list[str]]:
    return lambda: remove_unneeded(tmp_path, store, {"b-current", "b-running"}, {str(tmp_path / "artifacts/layers/l-running")})


def test_only_what_nothing_refers_to_goes(remove: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remove() == [], "all of it is young"
    monkeypatch.setattr(unneeded_parts, "_YOUNG_SECONDS", -1)
    assert sorted(remove()) == ["bundles/b-unneeded", "layers/l-unneeded"]
    assert {path.name for path in (tmp_path / "artifacts" / "layers").iterdir()} == {"l-build", "l-saved", "l-running"}
    assert {path.name for path in (tmp_path / "bundles").iterdir()} == {"b-saved", "b-mapped", "b-running", "b-current", ".making"}


@pytest.mark.parametrize("damaged", ["artifacts/builds/build.json", ".snapshots/saved/snapshot.json"])
def test_nothing_goes_while_anything_cannot_be_read(
    remove: Callable[[], list[str]], tmp_path: Path, damaged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unneeded_parts, "_YOUNG_SECONDS", -1)
    (tmp_path / damaged).write_text("{")
    with pytest.raises(InternalError):
        remove()
    assert (tmp_path / "bundles" / "b-unneeded").is_dir()


def test_nothing_goes_while_a_sandbox_runs_of_which_too_little_is_on_record(
    store: SnapshotStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unneeded_parts, "_YOUNG_SECONDS", -1)
    with pytest.raises(InternalError, match="not on record"):
        remove_unneeded(tmp_path, store, {"b-current", ""}, ())


def test_memory_of_zygotes_that_snapshots_need_is_known_or_an_error(store: SnapshotStore, tmp_path: Path) -> None:
    saves = Saves(Homes(tmp_path / "sandboxes"), tmp_path, NamespaceSettings())
    (tmp_path / "sandboxes").mkdir()
    (tmp_path / ".snapshots").rename(tmp_path / "sandboxes" / ".snapshots")
    assert saves.heaps() == {"h"}
    facts = tmp_path / "sandboxes" / ".snapshots" / "saved" / "snapshot.json"
    facts.write_text(facts.read_text().replace('"format_version": 2', '"format_version": 99'))
    with pytest.raises(InternalError):
        saves.heaps()
