"""Builds and snapshots in object storage (design: artefacts)."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from sandbank.artifacts.exchange import SNAPSHOT, Description, Exchange, Part
from sandbank.artifacts.remote import Remote
from sandbank.domain.errors import InternalError, InvalidError, UnavailableError


@pytest.fixture
def remote() -> Remote:
    return Remote(MemoryStore())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    files = tmp_path / "files"
    files.mkdir()
    (files / "one").write_text("text")
    return files


def _all(*parts: Part) -> Description:
    return Description(SNAPSHOT, {"a": [1, None]}, parts)


def test_everything_about_a_file_travels(remote: Remote, files: Path, tmp_path: Path) -> None:
    tool, whiteout, hole = files / "one", files / "gone", files / "hole"
    os.link(tool, files / "other")
    os.chown(tool, 1000, 7)
    tool.chmod(0o6750)
    os.utime(tool, ns=(5, 1_234_567_890_123_456_789))
    os.setxattr(tool, "user.overlay.origin", b"x")
    os.setxattr(files, "user.overlay.opaque", b"y")
    os.mknod(whiteout, 0o020000, 0)
    with hole.open("wb") as file:
        file.truncate(1 << 30)
    (files / "link").symlink_to("/etc/passwd")
    (files / "strange\nname").touch()
    exchange, back = Exchange(remote), tmp_path / "back"
    assert exchange.store("b", _all(Part("data", files))) < 1 << 20
    manifest = exchange.find("b")
    assert manifest is not None
    assert (manifest.kind, manifest.document, list(manifest.parts)) == (SNAPSHOT, {"a": [1, None]}, ["data"])
    back.mkdir()
    exchange.fetch(manifest, "data", back)
    status = (back / "one").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777, status.st_mtime_ns) == (1000, 7, 0o6750, 1_234_567_890_123_456_789)
    assert (back / "other").stat().st_ino == status.st_ino
    assert (os.getxattr(back / "one", "user.overlay.origin"), os.getxattr(back, "user.overlay.opaque")) == (b"x", b"y")
    assert ((back / "gone").stat().st_rdev, (back / "gone").is_char_device()) == (0, True)
    assert ((back / "hole").stat().st_size, (back / "hole").stat().st_blocks) == (1 << 30, 0)
    assert (back / "link").readlink() == Path("/etc/passwd")
    assert {path.name for path in back.iterdir()} == {path.name for path in files.iterdir()}


def test_what_is_shared_is_stored_once_and_outlives_each_build(remote: Remote, files: Path, tmp_path: Path) -> None:
    exchange = Exchange(remote)
    shared = Part("heaps/h1", files / "one")
    assert exchange.store("b1", _all(shared, Part("data", files))) > 0
    assert exchange.store("b1", _all(shared, Part("data", files))) == 0
    objects = set(remote.list(""))
    exchange.store("b2", _all(shared))
    assert set(remote.list("")) - objects == {"builds/b2.json"}
    assert (exchange.list(), exchange.list_snapshots()) == ({"b1", "b2"}, {"b1"})
    exchange.remove("b1")
    exchange.remove("b1")
    assert exchange.find("b1") is None
    assert not remote.list("snapshots/")
    manifest = exchange.find("b2")
    assert manifest is not None
    back = tmp_path / "back"
    back.mkdir()
    exchange.fetch(manifest, "heaps/h1", back)
    assert (back / "one").read_text() == "text"


def test_a_build_is_there_when_all_of_it_is(remote: Remote, files: Path) -> None:
    exchange = Exchange(remote)
    with pytest.raises(InternalError, match="could not be archived"):
        exchange.store("b", _all(Part("layers/l1", files), Part("data", files / "absent" / "too")))
    assert exchange.find("b") is None
    assert not exchange.has("b")
    before = set(remote.list("layers/"))
    exchange.store("b", _all(Part("layers/l1", files), Part("data", files)))
    assert set(remote.list("layers/")) == before, "what was stored at the first attempt is not stored again"


class _Damaging(Remote):
    """Storage that gives out other bytes than it was given."""

    def put(self, key: str, content: bytes | Iterable[bytes]) -> None:
        text = content if isinstance(content, bytes) else b"".join(content)
        super().put(key, text[:-1] + bytes([text[-1] ^ 1]) if key.endswith(".zst") else text)


def test_damage_is_named(files: Path, tmp_path: Path) -> None:
    remote = _Damaging(MemoryStore())
    exchange = Exchange(remote)
    exchange.store("b", _all(Part("data", files)))
    manifest = exchange.find("b")
    assert manifest is not None
    with pytest.raises(InternalError, match=r"snapshots/b/data\.tar\.zst in storage is damaged"):
        exchange.fetch(manifest, "data", tmp_path)
    remote.delete(["snapshots/b/data.tar.zst"])
    with pytest.raises(InternalError, match=r"snapshots/b/data\.tar\.zst is gone from storage"):
        exchange.fetch(manifest, "data", tmp_path)
    for text in (b"{", b"{}", b'{"format_version": 1, "build_id": "other"}', b'{"format_version": 9, "build_id": "b"}', b"[]"):
        remote.put("builds/b.json", text)
        with pytest.raises(InternalError, match="manifest of build b in storage is damaged"):
            exchange.find("b")
    remote.put("builds/b.json", b'{"format_version": 1, "build_id": "b", "kind": "snapshot", "document": {}, "parts": {"../../etc": {}}}')
    with pytest.raises(InternalError, match="damaged"):
        exchange.find("b")


def test_a_node_that_stops_gives_up(remote: Remote, files: Path) -> None:
    exchange = Exchange(remote)
    exchange.close()
    with pytest.raises(UnavailableError, match="this node is stopping"):
        exchange.store("b", _all(Part("data", files)))


def test_storage_that_cannot_be_used_says_so(files: Path, tmp_path: Path) -> None:
    exchange = Exchange(Remote.open(f"file://{tmp_path}/objects"))
    (tmp_path / "objects" / "snapshots").write_text("in the way")
    with pytest.raises(UnavailableError, match="could not be stored"):
        exchange.store("b", _all(Part("data", files)))
    for url in ("ftp://x", "here", "", "s3://"):
        with pytest.raises(InvalidError, match="artefacts cannot be kept"):
            Remote.open(url)


def test_what_expands_to_very_much_is_unpacked_within_little_memory(remote: Remote, tmp_path: Path) -> None:
    big, back = tmp_path / "big", tmp_path / "back"
    back.mkdir()
    with big.open("wb") as file:
        for _ in range(400):
            file.write(b"a" * (1 << 20))
    exchange = Exchange(remote)
    assert exchange.store("b", _all(Part("data", big))) < 1 << 20
    manifest = exchange.find("b")
    assert manifest is not None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    exchange.fetch(manifest, "data", back)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert (back / "big").stat().st_size == big.stat().st_size
