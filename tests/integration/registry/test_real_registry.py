"""Pulling from Debian's `docker-registry`, filled by `skopeo copy`. Needs root."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbank.domain.errors import DeniedError, InvalidError, NotFoundError
from sandbank.registry.credentials import BasicCredentials
from sandbank.registry.pull import ImageFacts, open_layout, pull_image
from sandbank.template_manager.settings import TemplateSettings
from sandbank.template_manager.wiring import build_images
from tests.integration.registry.images import Image, archive, directory, entry, hardlink, local_limits, symlink, write_layout

CREDENTIALS = BasicCredentials("somebody", "pw")
_HASH = "$2y$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q"  # of `pw`

CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}/storage}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: tests, path: {root}/htpasswd}}}}
"""

BIND_SERVICE, RAW = (b"\x01\x00\x00\x02" + (1 << number).to_bytes(4, "little") + bytes(12) for number in (10, 13))


def image(architecture: str = "amd64") -> Image:
    lower = archive(
        directory("etc"),
        entry("etc/os-release", b"ID=debian\n"),
        entry("etc/gone", b"x"),
        directory("var/full", mode=0o750, uid=7, gid=8),
        entry("var/full/old", b"x"),
        entry("bin/sudo", b"#!", mode=0o4755),
    )
    attributes = {"SCHILY.xattr.user.kept": "1", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.trusted.x": "1"}
    attributes["SCHILY.xattr.security.capability"] = BIND_SERVICE.decode()
    upper = archive(
        entry("etc/.wh.gone"),
        entry("var/full/.wh..wh..opq"),
        entry("var/full/new", b"new", uid=65535, gid=5),
        hardlink("var/full/same", "var/full/new"),
        symlink("lib", "usr/lib"),
        directory("usr/lib"),
        entry("lib/inside", architecture.encode()),
        entry("attributes", b"", pax_headers=attributes),
        entry("ping", pax_headers={"SCHILY.xattr.security.capability": RAW.decode()}),
    )
    plain = archive(entry("plain", b"p" * 3_000_000))
    return Image.of([lower, upper, plain], architecture=architecture, env=["A=b=c", "PATH=/x"], compressions=["+gzip", "+zstd", ""])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (root / "htpasswd").write_text(f"{CREDENTIALS.username}:{_HASH}\n")
    (root / "config.yml").write_text(CONFIG.format(root=root, port=port))
    process = subprocess.Popen(["docker-registry", "serve", str(root / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        host = f"localhost:{port}"
        _wait(f"http://127.0.0.1:{port}/v2/")
        layout = write_layout(root / "layout", {"amd64": image(), "arm64": image("arm64")})
        single = write_layout(root / "single", {"arm64": image("arm64")})
        for source, name in ((layout, "team/both:1"), (single, "team/arm:1")):
            command = ["skopeo", "copy", "--all", "--preserve-digests", "--quiet", "--dest-tls-verify=false", "--dest-creds=somebody:pw"]
            subprocess.run([*command, f"oci:{source}", f"docker://{host}/{name}"], check=True)
        yield host
    finally:
        process.terminate()
        process.wait()


def _wait(url: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(url)
        except urllib.error.HTTPError:
            return  # 401: it is there
        except OSError:
            time.sleep(0.1)
    pytest.fail("docker-registry does not start")


async def pull(name: str, target: Path, credentials: BasicCredentials | None = CREDENTIALS, architecture: str = "amd64") -> ImageFacts:
    target.mkdir(exist_ok=True)
    return await pull_image(
        name, credentials=credentials, architecture=architecture, target=target, limits=local_limits(stall_seconds=5), progress=print
    )


async def test_all_kinds_of_layers_become_one_directory(registry: str, tmp_path: Path) -> None:
    target = tmp_path / "root"
    facts = await pull(f"{registry}/team/both:1", target)
    assert facts == ImageFacts(image().digest, {"A": "b=c", "PATH": "/x"}, facts.size_bytes, "amd64")
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*"))
    expected = "attributes bin bin/sudo etc etc/os-release lib ping plain usr usr/lib usr/lib/inside".split()
    assert found == sorted([*expected, *"var var/full var/full/new var/full/same".split()])
    assert (target / "bin/sudo").stat().st_mode & 0o7777 == 0o4755
    full, new = (target / "var/full").stat(), (target / "var/full/new").stat()
    assert (full.st_mode & 0o7777, full.st_uid, full.st_gid) == (0o750, 7, 8)
    assert (new.st_uid, new.st_gid, new.st_nlink) == (65535, 5, 2)
    assert (target / "usr/lib/inside").read_text() == "amd64"
    assert (target / "plain").stat().st_size == 3_000_000
    names = os.listxattr(target / "attributes")
    assert sorted(names) == ["security.capability", "user.kept"]
    assert os.listxattr(target / "ping") == [], "no sandbox could run it"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]


async def test_an_index_has_an_image_for_each_machine(registry: str, tmp_path: Path) -> None:
    await pull(f"{registry}/team/both:1", tmp_path / "root", architecture="arm64")
    assert (tmp_path / "root/usr/lib/inside").read_text() == "arm64"


@pytest.mark.parametrize(("name", "found"), [("team/both:1", "amd64, arm64"), ("team/arm:1", "arm64")])
async def test_an_image_for_other_machines_is_refused(registry: str, tmp_path: Path, name: str, found: str) -> None:
    expected = "s390x" if "," in found else "amd64"
    with pytest.raises(InvalidError) as caught:
        await pull(f"{registry}/{name}", tmp_path / "root", architecture=expected)
    assert caught.value.message == f'image architecture "{found}" does not match expected "{expected}"'


@pytest.mark.parametrize("credentials", [None, BasicCredentials("somebody", "wrong")])
async def test_without_the_right_password_access_is_denied(registry: str, tmp_path: Path, credentials: BasicCredentials | None) -> None:
    name = f"{registry}/team/both:1"
    with pytest.raises(DeniedError) as caught:
        await pull(name, tmp_path / "root", credentials)
    assert caught.value.message == f"access denied to '{name}': authentication required or insufficient permissions"


@pytest.mark.parametrize("name", ["team/both:2", "team/nothing", "team/both@sha256:" + "0" * 64])
async def test_what_is_not_there_is_not_found(registry: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        await pull(f"{registry}/{name}", tmp_path / "root")
    assert caught.value.message == f"image '{registry}/{name}' not found: the image or tag does not exist in the registry"


async def test_a_digest_names_an_image(registry: str, tmp_path: Path) -> None:
    assert (await pull(f"{registry}/team/both@{image().digest}", tmp_path / "root")).digest == image().digest


async def test_a_layout_on_the_node_is_as_good(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"amd64": image()})
    subprocess.run(["tar", "-cf", str(tmp_path / "layout.tar"), "-C", str(layout), "."], check=True)
    for number, path in enumerate((layout, tmp_path / "layout.tar")):
        target = tmp_path / f"root{number}"
        target.mkdir()
        async with open_layout(path, "x", architecture="amd64", limits=local_limits()) as opened:
            await opened.unpack(target, print)
        assert (target / "var/full/new").read_text() == "new"


async def test_concurrent_builds_place_a_mirrored_image_once(registry: str, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"amd64": image()})
    settings = TemplateSettings(image_mirrors=f'{{"company/*": "oci:{layout}"}}', trusted_registries="http://localhost")
    images = build_images(tmp_path / "artifacts", settings)
    said: list[str] = []
    results = await asyncio.gather(*(images.get("company/thing:3", None, force=False, log=said.append) for _ in range(3)))
    assert results[0] == results[1] == results[2]
    (layer,) = results[0].layers
    assert (layer / "etc/os-release").read_text() == "ID=debian\n"
    assert results[0].env == {"A": "b=c", "PATH": "/x"}
    assert said.count(f"The OCI layout {layout} on this node stands in for company/thing:3") == 3
    assert len([line for line in said if line.startswith("Base Docker image size")]) == 1
    assert list((tmp_path / "artifacts/staging").iterdir()) == []
    own = await images.get(f"{registry}/team/both:1", CREDENTIALS, force=False, log=said.append)
    assert own.layers == (layer,), "the same image is the same layer, wherever it comes from"
