"""Volumes through the official client (rest-api contract §18, §19)."""

from __future__ import annotations

import io
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from e2b import NotFoundException, Sandbox, Volume
from e2b.exceptions import VolumeException

from tests.product.instance import Instance


@pytest.fixture
def volume(server: Instance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Volume]:
    monkeypatch.setenv("E2B_VOLUME_API_URL", server.api_url)
    made = Volume.create(f"v-{secrets.token_hex(4)}")
    yield made
    Volume.destroy(made.volume_id)


def call(server: Instance, method: str, path: str, token: str | None) -> tuple[int, dict[str, str]]:
    """Status and body of a refused request to the content API."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(server.api_url + path, method=method, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=20)
    return raised.value.code, json.loads(raised.value.read())


def test_it_is_listed_found_and_gone(volume: Volume) -> None:
    assert volume.volume_id in {one.volume_id for one in Volume.list()}
    assert Volume.connect(volume.volume_id).name == volume.name
    assert Volume.get_info(volume.volume_id).name == volume.name
    with pytest.raises(VolumeException, match="already exists"):
        Volume.create(volume.name)
    other = Volume.create(f"w-{secrets.token_hex(4)}")
    assert Volume.destroy(other.volume_id)
    assert not Volume.destroy(other.volume_id)
    with pytest.raises(NotFoundException):
        Volume.get_info(other.volume_id)


def test_files_and_directories(volume: Volume) -> None:
    made = volume.make_dir("/a/b", force=True)
    assert (made.path, made.type.value, made.uid, made.gid) == ("/a/b", "directory", 9090, 9090)
    written = volume.write_file("/a/b/text", "hello", mode=0o640, uid=1000, gid=1001)
    assert (written.size, written.mode & 0o7777, written.uid, written.gid) == (5, 0o640, 1000, 1001)
    assert volume.read_file("/a/b/text") == "hello"
    assert bytes(volume.read_file("/a/b/text", format="bytes")) == b"hello"
    assert [entry.path for entry in volume.list("/", depth=3)] == ["/a", "/a/b", "/a/b/text"]
    assert volume.exists("/a/b/text")
    assert not volume.exists("/a/none")
    changed = volume.update_metadata("/a/b/text", mode=0o600, uid=7)
    assert (changed.mode & 0o7777, changed.uid, changed.gid) == (0o600, 7, 1001)
    with pytest.raises(VolumeException):
        volume.make_dir("/a/b")
    with pytest.raises(NotFoundException):
        volume.read_file("/a/none")
    with pytest.raises(VolumeException, match="between 1 and 10"):
        volume.list("/", depth=11)
    volume.remove("/a")
    assert volume.list("/") == []
    with pytest.raises(NotFoundException):
        volume.remove("/a")
    with pytest.raises(VolumeException):
        volume.remove("/")


def test_big_files_stream_both_ways(volume: Volume) -> None:
    block = secrets.token_bytes(1 << 20)
    content = block * 64
    assert volume.write_file("/big", io.BytesIO(content)).size == len(content)
    assert b"".join(volume.read_file("/big", format="stream")) == content
    volume.write_file("/big", b"", force=True)
    assert volume.get_info("/big").size == 0


def test_sandboxes_share_it_and_it_outlives_them(volume: Volume) -> None:
    volume.write_file("/seed", "from outside", mode=0o666)
    with Sandbox.create(volume_mounts={"/mnt/data": volume}, timeout=60) as one:
        assert one.files.read("/mnt/data/seed") == "from outside"
        one.commands.run("echo inside > /mnt/data/made && chmod 600 /mnt/data/made")
        with Sandbox.create(volume_mounts={"/home/user/shared": volume}, timeout=60) as two:
            assert two.commands.run("cat shared/made && stat -c %U shared/made").stdout == "inside\nuser\n"
            two.files.write("/home/user/shared/more", "more")
        assert one.commands.run("cat /mnt/data/more").stdout == "more"
        info = one.get_info()
        assert info.volume_mounts == [{"name": volume.name, "path": "/mnt/data"}]
    assert volume.read_file("/made") == "inside\n"
    with Sandbox.create(volume_mounts={"/again": volume}, timeout=60) as three:
        assert three.commands.run("cat /again/made").stdout == "inside\n"


def test_links_that_a_sandbox_plants_lead_nowhere_else(volume: Volume) -> None:
    with Sandbox.create(volume_mounts={"/v": volume}, timeout=60) as sandbox:
        sandbox.commands.run(
            "ln -s /etc/passwd /v/abs; ln -s ../../../../etc/passwd /v/rel; ln -s / /v/root; mkfifo /v/pipe; ln -s . /v/loop"
        )
        for path in ("/abs", "/rel", "/root/etc/passwd", "/loop/loop/abs", "/../../etc/passwd"):
            assert not volume.exists(path) or volume.get_info(path).type.value == "symlink"
            with pytest.raises((NotFoundException, VolumeException)):
                volume.read_file(path)
        with pytest.raises(VolumeException, match="is not a file"):
            volume.read_file("/pipe")
        written = volume.write_file("/abs", "replaced", force=True)
        assert written.type.value == "file"
        assert sandbox.commands.run("cat /v/abs; head -c 4 /etc/passwd").stdout == "replacedroot"
        volume.remove("/root")
        assert sandbox.commands.run("ls /etc/passwd").exit_code == 0


def test_only_its_token_opens_it(server: Instance, volume: Volume) -> None:
    other = Volume.create(f"o-{secrets.token_hex(4)}")
    path = f"/volumecontent/{volume.volume_id}/path?path=/"
    assert call(server, "GET", path, None) == (401, {"code": "UNAUTHENTICATED", "message": "the volume's token is missing"})
    assert call(server, "GET", path, "nonsense")[0] == 401
    assert volume.token is not None
    head, claims, signature = volume.token.split(".")
    assert call(server, "GET", path, f"{head}.{claims}.{signature[::-1]}")[0] == 401
    assert call(server, "GET", path, other.token)[0] == 403
    Volume.destroy(other.volume_id)
    assert call(server, "GET", f"/volumecontent/{other.volume_id}/path?path=/", other.token)[0] == 404
    assert call(server, "GET", f"/volumecontent/{volume.volume_id}/path", volume.token)[1]["code"] == "INVALID_REQUEST"
