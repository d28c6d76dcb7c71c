"""What no build needs goes from storage, and nothing else does (design: artefacts)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from sandbank.artifacts.exchange import SNAPSHOT, Description, Exchange, Part
from sandbank.artifacts.remote import Remote
from sandbank.artifacts.unreferenced import UnreferencedParts
from sandbank.domain.errors import InternalError, UnavailableError


class _Remote(Remote):
    """Something happens before an object is written."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.on_put: Callable[[str], None] = lambda key: None

    def put(self, key: str, content: bytes | Iterable[bytes]) -> None:
        self.on_put(key)
        super().put(key, content)


@pytest.fixture
def remote() -> _Remote:
    return _Remote()


@pytest.fixture
def exchange(remote: Remote) -> Exchange:
    return Exchange(remote)


@pytest.fixture
def parts(exchange: Exchange, remote: Remote) -> UnreferencedParts:
    return UnreferencedParts(exchange, remote)


@pytest.fixture
def build(tmp_path: Path) -> Description:
    (tmp_path / "file").write_text("text")
    return Description(SNAPSHOT, {}, (Part("layers/l", tmp_path), Part("heaps/h", tmp_path / "file"), Part("data", tmp_path)))


def test_what_is_shared_goes_with_the_last_build_at_the_second_look(
    remote: Remote, exchange: Exchange, parts: UnreferencedParts, build: Description
) -> None:
    exchange.store("b1", build)
    exchange.store("b2", build)
    objects = set(remote.list(""))
    exchange.remove("b1")
    assert [parts.sweep() for _ in range(3)] == [0, 0, 0]
    assert set(remote.list("")) == {key for key in objects if key.split("/")[1] not in ("b1", "b1.json")}
    exchange.remove("b2")
    assert parts.sweep() == 0, "somebody may have found the pointers a moment ago"
    assert len(remote.list("")) == 2
    assert parts.sweep() == 2
    assert remote.list("") == []


def test_what_is_being_stored_at_the_first_look_stays(
    remote: _Remote, exchange: Exchange, parts: UnreferencedParts, build: Description
) -> None:
    def look(key: str) -> None:
        if key == "builds/b.json":
            parts.sweep()

    remote.on_put = look
    exchange.store("b", build)
    assert [parts.sweep() for _ in range(3)] == [0, 0, 0]
    manifest = exchange.find("b")
    assert manifest is not None
    assert all(remote.has(archive.key) for archive in manifest.parts.values())


def test_what_took_so_long_to_store_that_parts_are_gone_is_stored_again(
    remote: _Remote, exchange: Exchange, parts: UnreferencedParts, build: Description
) -> None:
    def look_twice(key: str) -> None:
        if key == "builds/b.json":
            parts.sweep()
            parts.sweep()

    remote.on_put = look_twice
    with pytest.raises(UnavailableError, match="vanished from storage"):
        exchange.store("b", build)
    assert exchange.find("b") is None
    remote.on_put = lambda key: None
    exchange.store("b", build)
    manifest = exchange.find("b")
    assert manifest is not None
    assert all(remote.has(archive.key) for archive in manifest.parts.values())


def test_nothing_goes_while_a_manifest_cannot_be_read(
    remote: Remote, exchange: Exchange, parts: UnreferencedParts, build: Description
) -> None:
    exchange.store("b", build)
    exchange.remove("b")
    remote.put("builds/later.json", b'{"format_version": 99, "build_id": "later"}')
    before = set(remote.list(""))
    for _ in range(2):
        with pytest.raises(InternalError, match="manifest of build later"):
            parts.sweep()
    assert set(remote.list("")) == before
