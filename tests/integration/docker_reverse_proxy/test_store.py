"""The image store as a registry of its own (OCI distribution specification), and what it does about trouble."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbank.db.database import Database
from tests.integration.docker_reverse_proxy.oci_layout import MANIFEST
from tests.integration.docker_reverse_proxy.platform import TEMPLATE, Platform, platform

BLOBS = f"/v2/{TEMPLATE}/blobs"
MIB = 2**20


@pytest.fixture
async def store(own_store: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """The store itself, without the proxy in front."""
    async with own_store.upstream() as client:
        yield client


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


async def put_blob(store: httpx.AsyncClient, content: bytes, blobs: str = BLOBS) -> str:
    answer = await store.post(f"{blobs}/uploads/", params={"digest": digest_of(content)}, content=content)
    assert answer.status_code == 201, answer.text
    return digest_of(content)


async def put_image(store: httpx.AsyncClient, tag: str, layer: bytes) -> None:
    descriptors: list[dict[str, Any]] = []
    for content in (b"{}", layer):
        descriptors.append({"mediaType": "x", "digest": await put_blob(store, content), "size": len(content)})
    manifest = {"schemaVersion": 2, "config": descriptors[0], "layers": descriptors[1:]}
    answer = await store.put(f"/v2/{TEMPLATE}/manifests/{tag}", content=json.dumps(manifest), headers={"Content-Type": MANIFEST})
    assert answer.status_code == 201, answer.text


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


async def test_only_sandbank_itself_is_answered(own_store: Platform) -> None:
    """The port is on loopback, where other users of the machine are, too."""
    async with httpx.AsyncClient(trust_env=False) as stranger:
        for auth in (None, ("sandbank", "wrong")):
            answer = await stranger.get(f"{own_store.registry.url}{BLOBS}/x", auth=auth)
            assert error_of(answer) == (401, "UNAUTHORIZED")


async def test_ranges_of_a_blob_are_answered(store: httpx.AsyncClient) -> None:
    """RFC 9110 §14, as a pull goes on after a break."""
    digest = await put_blob(store, b"0123456789")
    for asked, status, content in (("bytes=3-5", 206, b"345"), ("bytes=7-", 206, b"789"), ("bytes=0-99", 206, b"0123456789")):
        answer = await store.get(f"{BLOBS}/{digest}", headers={"Range": asked})
        assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers["content-range"] == "bytes 0-9/10"
    assert (await store.get(f"{BLOBS}/{digest}", headers={"Range": "bytes=10-"})).status_code == 416
    assert (await store.get(f"{BLOBS}/{digest}", headers={"Range": "bytes=-3"})).status_code == 200
    assert await put_blob(store, b"") == digest_of(b"")
    assert (await store.get(f"{BLOBS}/{digest_of(b'')}")).content == b""


async def test_what_is_in_one_repository_is_not_in_another(store: httpx.AsyncClient) -> None:
    """Nobody learns what others have by guessing digests; whoever may read both can mount."""
    digest = await put_blob(store, b"secret")
    assert (await store.head(f"/v2/other/blobs/{digest}")).status_code == 404
    assert (await store.post("/v2/other/blobs/uploads/", params={"mount": digest, "from": "nowhere"})).status_code == 202
    assert (await store.post("/v2/other/blobs/uploads/", params={"mount": digest, "from": TEMPLATE})).status_code == 201
    assert (await store.get(f"/v2/other/blobs/{digest}")).content == b"secret"


async def test_a_manifest_needs_all_it_names(store: httpx.AsyncClient) -> None:
    """`MANIFEST_BLOB_UNKNOWN`; and only kinds of manifests that can be built from are taken."""
    path, headers = f"/v2/{TEMPLATE}/manifests/x", {"Content-Type": MANIFEST}
    part = {"mediaType": "x", "digest": digest_of(b"missing"), "size": 7}
    manifest = {"schemaVersion": 2, "config": part, "layers": []}
    assert error_of(await store.put(path, content=json.dumps(manifest), headers=headers)) == (400, "MANIFEST_BLOB_UNKNOWN")
    for content, media_type in ((b"no JSON", MANIFEST), (b"{}", MANIFEST), (b"[]", MANIFEST), (b"{}", "application/json")):
        assert error_of(await store.put(path, content=content, headers={"Content-Type": media_type})) == (400, "MANIFEST_INVALID")
    assert error_of(await store.put(path, content=bytes(5 * MIB), headers=headers)) == (413, "SIZE_INVALID")
    assert error_of(await store.get(path)) == (404, "MANIFEST_UNKNOWN")


async def test_an_upload_survives_a_break_and_a_restart(tmp_path: Path, rows: Database) -> None:
    """`Range` says where to go on; the digest is of all of it."""
    content = os.urandom(3 * MIB)
    async with platform(tmp_path, rows) as found, found.upstream() as store:
        location = (await store.post(f"{BLOBS}/uploads/")).headers["location"]

        async def breaking() -> AsyncIterator[bytes]:
            yield content[:MIB]
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await store.patch(location, content=breaking())
        while (await store.get(location)).headers["range"] == "0-0":
            await asyncio.sleep(0.01)
    async with platform(tmp_path, rows) as found, found.upstream() as store:
        shown = await store.get(location)
        assert (shown.status_code, shown.headers["range"]) == (204, f"0-{MIB - 1}")
        wrong = await store.patch(location, content=b"x", headers={"Content-Range": "5-5"})
        assert error_of(wrong) == (416, "RANGE_INVALID")
        more = await store.patch(location, content=content[MIB:], headers={"Content-Range": f"{MIB}-{len(content) - 1}"})
        assert more.status_code == 202
        assert (await store.put(location, params={"digest": digest_of(content)})).status_code == 201
        assert (await store.get(f"{BLOBS}/{digest_of(content)}")).content == content
        assert error_of(await store.get(location)) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_sizes_are_limited(tmp_path: Path, rows: Database) -> None:
    """Of a layer, of all of a template's, of the disk's rest, of uploads at a time."""
    async with (
        platform(tmp_path / "1", rows, docker_store_max_layer_mib=2, docker_store_max_template_mib=3) as found,
        found.upstream() as store,
    ):
        answer = await store.post(f"{BLOBS}/uploads/", params={"digest": digest_of(b"")}, content=bytes(3 * MIB))
        assert error_of(answer) == (413, "SIZE_INVALID")
        await put_blob(store, bytes(2 * MIB))
        answer = await store.post(f"{BLOBS}/uploads/", params={"digest": digest_of(b"")}, content=os.urandom(2 * MIB))
        assert error_of(answer) == (413, "SIZE_INVALID")
        several = [(await store.post("/v2/third/blobs/uploads/")).headers["location"] for _ in range(2)]
        answers = [await store.patch(location, content=bytes(2 * MIB)) for location in several]
        assert (answers[0].status_code, error_of(answers[1])) == (202, (413, "SIZE_INVALID"))
        statuses = [(await store.post("/v2/other/blobs/uploads/")).status_code for _ in range(65)]
        assert statuses == [202] * 64 + [429]
    async with platform(tmp_path / "2", rows, docker_store_min_free_mib=2**40) as found, found.upstream() as store:
        assert error_of(await store.post(f"{BLOBS}/uploads/")) == (413, "DENIED")


async def test_an_upload_belongs_to_its_repository_and_to_one_request_at_a_time(store: httpx.AsyncClient) -> None:
    """What two wrote at once would be nobody's."""
    location = (await store.post(f"{BLOBS}/uploads/")).headers["location"]
    assert error_of(await store.patch(location.replace(TEMPLATE, "other"), content=b"x")) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert error_of(await store.patch(f"{BLOBS}/uploads/..", content=b"x"))[0] == 404
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        begun.set()
        await go_on.wait()

    async with asyncio.TaskGroup() as group:
        first = group.create_task(store.patch(location, content=slowly()))
        await begun.wait()
        second = await store.patch(location, content=b"y")
        while second.status_code == 202:  # the first one's head was still on its way
            second = await store.patch(location, content=b"y")
        go_on.set()
    assert error_of(second) == (416, "BLOB_UPLOAD_INVALID")
    assert first.result().status_code == 202
    assert (await store.delete(location)).status_code == 204
    assert (await store.get(location)).status_code == 404


async def test_nothing_is_a_blob_before_it_is_complete(own_store: Platform, store: httpx.AsyncClient) -> None:
    """What a crash leaves is an upload, never half a layer."""
    location = (await store.post(f"{BLOBS}/uploads/")).headers["location"]
    await store.patch(location, content=b"half")
    assert not list((own_store.settings.data_dir / "registry" / "blobs").iterdir())
    await store.put(location, params={"digest": digest_of(b"whole")})
    assert not list((own_store.settings.data_dir / "registry" / "blobs").iterdir())
    assert not list((own_store.settings.data_dir / "registry" / "uploads").iterdir())


async def test_an_image_that_was_pushed_is_read_back_after_a_restart(tmp_path: Path, rows: Database) -> None:
    """By tag and by digest."""
    async with platform(tmp_path, rows) as found, found.upstream() as store:
        await put_image(store, "build", b"layer")
    async with platform(tmp_path, rows) as found, found.upstream() as store:
        answer = await store.get(f"/v2/{TEMPLATE}/manifests/build")
        assert (answer.status_code, answer.headers["content-type"]) == (200, MANIFEST)
        same = await store.get(f"/v2/{TEMPLATE}/manifests/{answer.headers['docker-content-digest']}")
        assert same.content == answer.content
