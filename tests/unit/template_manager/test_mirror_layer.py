"""Mirror settings above somebody's image: nothing of it is run, and its links lead nowhere on the node."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.artifacts.layers import LayerStore
from sandbank.template_manager.adapters import mirror_layer
from sandbank.template_manager.adapters.mirror_layer import MirrorLayer, read_text
from sandbank.template_manager.core.apt_sources import AptSource
from sandbank.template_manager.core.distributions import debian_suite
from sandbank.template_manager.core.mirrors import Mirrors

PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
MIRRORS = Mirrors(
    apt_sources=(AptSource("http://m.example/debian", "bookworm", ("main",)),),
    npm_registry="https://m/",
    certificates=(PEM.format("OWNS"),),
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "image"
    for name in ("etc/pki/tls/certs", "etc/ssl", "usr/local", "etc/apt/sources.list.d", "usr/lib"):
        (base / name).mkdir(parents=True)
    (base / "usr/local").chmod(0o777)
    (base / "etc/ssl/certs").symlink_to("/etc/pki/tls/certs")
    (base / "etc/pki/tls/certs/ca-bundle.crt").write_text(PEM.format("THEY"))
    (base / "etc/apt/sources.list.d/debian.sources").write_text("Types: deb")
    (base / "usr/lib/os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm")
    (base / "etc/os-release").symlink_to("../usr/lib/os-release")
    return base


def test_certificates_go_where_the_images_links_lead(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_layer, "run_above", lambda *args: pytest.fail("ran the image"))
    upper = MirrorLayer(LayerStore(tmp_path), tmp_path).get(base, MIRRORS, is_own=False)
    for name in ("ca-bundle.crt", "ca-certificates.crt"):
        assert (upper / "etc/pki/tls/certs" / name).read_text() == PEM.format("THEY") + PEM.format("OWNS")
    assert not (upper / "etc/ssl").exists()
    assert list((upper / "usr/local/share/ca-certificates").iterdir()) != []
    assert (upper / "usr/local").stat().st_mode & 0o777 == 0o777
    assert (upper / "etc/apt/sources.list.d/debian.sources").read_text().startswith("#")
    assert "m.example" in (upper / "etc/apt/sources.list").read_text()


@pytest.mark.parametrize("link", ["{outside}", "../../../../../../../../../{outside}", "/../{outside}", "loop"])
def test_links_lead_nowhere_on_the_node(base: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "ca-certificates.crt").write_text("secret")
    for name in ("etc/ssl/certs", "usr/local"):
        path = base / name
        path.rmdir() if not path.is_symlink() else path.unlink()
        path.symlink_to("certs" if link == "loop" else link.format(outside=outside))
    before = sorted(str(path) for path in outside.rglob("*"))
    upper = MirrorLayer(LayerStore(tmp_path), tmp_path).get(base, MIRRORS, is_own=False)
    assert sorted(str(path) for path in outside.rglob("*")) == before
    assert not any("secret" in path.read_text() for path in upper.rglob("*") if path.is_file())
    assert not any(path.is_symlink() for path in upper.rglob("*"))


def test_the_release_of_debian_is_read_through_links(base: Path) -> None:
    assert debian_suite(read_text(base, "/etc/os-release")) == "bookworm"
    assert debian_suite("ID=ubuntu\nVERSION_CODENAME=noble") is None
    assert debian_suite("ID=debian\nVERSION_CODENAME='x deb http://evil'") is None
    assert read_text(base, "/etc/absent") == ""


def test_neither_many_links_nor_a_file_in_the_way_lead_to_the_nodes_files(base: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    for number in range(60):
        (base / f"chain{number}").symlink_to(f"chain{number + 1}" if number < 59 else outside)
    (base / str(tmp_path).strip("/").partition("/")[0]).write_text("no directory")
    (base / "direct").symlink_to(outside)
    assert read_text(base, "/chain0/file") == ""
    assert read_text(base, "/direct/file") == ""
