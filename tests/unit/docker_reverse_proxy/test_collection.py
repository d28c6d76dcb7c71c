"""What the image store removes, and what it must not."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbank.docker_reverse_proxy.adapters.image_store import ImageStore
from sandbank.docker_reverse_proxy.adapters.store_collection import StoreCollection
from sandbank.docker_reverse_proxy.adapters.store_files import StoreFiles, StoreLimits
from sandbank.docker_reverse_proxy.adapters.upload_store import UploadStore
from sandbank.docker_reverse_proxy.background.collector import Collector
from sandbank.domain.errors import NotFoundError, UnavailableError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
HOUR = 3600.0


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content


class Store:
    """A store whose clock the test moves."""

    def __init__(self, root: Path) -> None:
        self.now = 1_000_000_000.0
        self.files = StoreFiles(root, StoreLimits(min_free_mib=0), lambda: self.now)
        self.files.prepare()
        self.images = ImageStore(self.files)
        self.uploads = UploadStore(self.files, self.images)
        self.collection = StoreCollection(self.files, self.uploads.is_busy)

    async def blob(self, content: bytes, repository: str = "abc") -> dict[str, Any]:
        upload = await self.uploads.start(repository)
        await self.uploads.append(repository, upload, None, once(content))
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        await self.uploads.complete(repository, upload, digest)
        return {"digest": digest, "size": len(content)}

    async def image(self, reference: str, layer: bytes, repository: str = "abc") -> str:
        parts = {"config": await self.blob(b"{}", repository), "layers": [await self.blob(layer, repository)]}
        content = json.dumps({"schemaVersion": 2, **parts}).encode()
        if reference == "by digest":
            reference = "sha256:" + hashlib.sha256(content).hexdigest()
        return await self.images.put_manifest(repository, reference, MANIFEST, content)

    def later(self, hours: float, gone: frozenset[str] = frozenset()) -> None:
        self.now += hours * HOUR
        self.collection.collect(set(gone))

    def contents(self) -> set[bytes]:
        return {path.read_bytes() for path in self.files.blobs.glob("*/*")}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


async def test_an_image_goes_a_week_after_its_push_with_all_that_only_it_needs(store: Store) -> None:
    """Its layers a day after that, because somebody could be pushing them again."""
    await store.image("one", b"first layer")
    await store.image("two", b"second layer")
    store.later(6 * 24)
    await store.image("two", b"second layer")
    store.later(25)
    with pytest.raises(NotFoundError):
        await store.images.get_manifest("abc", "one")
    assert b"first layer" not in store.contents()
    assert {b"second layer", b"{}"} <= store.contents()
    assert (await store.images.get_manifest("abc", "two")).media_type == MANIFEST


async def test_layers_without_an_image_go_after_a_day_unless_somebody_asked_for_them(store: Store) -> None:
    """A push takes a while; what it has looked for it counts on."""
    wanted, other = await store.blob(b"wanted"), await store.blob(b"other")
    store.later(20)
    await store.images.get_blob("abc", wanted["digest"])
    store.later(20)
    assert store.contents() == {b"wanted"}
    with pytest.raises(NotFoundError):
        await store.images.get_blob("abc", other["digest"])
    store.later(25)
    assert store.contents() == set()


async def test_an_index_keeps_its_images(store: Store) -> None:
    """They have no tags of their own."""
    child = await store.image("by digest", b"layer")
    index = json.dumps({"schemaVersion": 2, "manifests": [{"digest": child}]}).encode()
    await store.images.put_manifest("abc", "many", INDEX, index)
    store.later(48)
    assert (await store.images.get_manifest("abc", child)).digest == child
    assert b"layer" in store.contents()


async def test_images_of_deleted_templates_go_at_once_and_shared_layers_stay(store: Store) -> None:
    """A layer is kept once, whoever has it."""
    await store.image("x", b"shared layer", "gone")
    await store.image("x", b"shared layer", "abc")
    await store.image("y", b"own layer", "gone")
    left = await store.uploads.start("gone")
    store.later(25, frozenset({"gone"}))
    assert store.collection.list_templates() == ["abc"]
    assert b"own layer" not in store.contents()
    blob = await store.images.get_blob("abc", "sha256:" + hashlib.sha256(b"shared layer").hexdigest())
    assert blob.size_bytes == 12
    store.uploads.forget_removed()
    with pytest.raises(NotFoundError):
        await store.uploads.get_size("gone", left)


async def test_uploads_are_given_up_a_day_after_their_last_byte_and_not_while_bytes_come(store: Store) -> None:
    """Also those that an earlier process began."""
    abandoned, busy = await store.uploads.start("abc"), await store.uploads.start("abc")
    for upload in (abandoned, busy):
        store.files.touch(store.files.uploads / upload / "data")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        begun.set()
        await go_on.wait()
        yield b"x"

    async with asyncio.TaskGroup() as group:
        appended = group.create_task(store.uploads.append("abc", busy, None, slowly()))
        await begun.wait()
        store.later(25)
        go_on.set()
    assert appended.result() == 1
    assert [path.name for path in store.files.uploads.iterdir()] == [busy]


async def test_nothing_goes_while_nobody_knows_which_templates_there_are(store: Store) -> None:
    """A database that is away must not look like one that has no templates."""
    await store.image("x", b"layer")

    async def unavailable(templates: list[str]) -> set[str]:
        raise UnavailableError("the database does not answer")

    async def none(templates: list[str]) -> set[str]:
        assert templates == ["abc"]
        return set()

    await Collector(store.collection, unavailable, store.uploads.forget_removed).collect()
    assert store.collection.list_templates() == ["abc"]
    await Collector(store.collection, none, store.uploads.forget_removed).collect()
    assert store.collection.list_templates() == []
