"""What mirror settings write into a template, and what they never do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.domain.errors import InvalidError
from sandbank.template_manager import wiring
from sandbank.template_manager.adapters import node_mirrors
from sandbank.template_manager.core.apt_sources import AptSource
from sandbank.template_manager.core.bootstrap_recipe import BootstrapRecipe, node_requirement
from sandbank.template_manager.core.certificates import file_name, split_pem, without
from sandbank.template_manager.core.mirrors import SYSTEM_BUNDLE, Mirrors, usable_in_sandboxes
from sandbank.template_manager.settings import TemplateSettings

PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


def test_no_mirrors_write_nothing() -> None:
    assert Mirrors().is_empty
    assert Mirrors().files() == {}
    assert Mirrors().env_vars() == {}


def test_every_setting_reaches_its_tool() -> None:
    mirrors = Mirrors(
        apt_sources=(AptSource("http://m.example/debian", "bookworm", ("main",)),),
        pip_index_url="https://m.example/simple",
        pip_extra_index_urls=("https://x.example/simple",),
        npm_registry="https://m.example/npm",
        certificates=(PEM.format("AAAA"),),
    )
    files = mirrors.files()
    assert files["/etc/apt/sources.list"] == "deb http://m.example/debian bookworm main\n"
    assert "index-url = https://m.example/simple\n" in files["/etc/pip.conf"]
    assert f"cert = {SYSTEM_BUNDLE}\n" in files["/etc/pip.conf"]
    assert files["/usr/local/etc/npmrc"] == f"registry=https://m.example/npm\ncafile={SYSTEM_BUNDLE}\n"
    assert f"NODE_EXTRA_CA_CERTS={SYSTEM_BUNDLE}\n" in files["/etc/environment"]


def test_every_change_has_a_digest_of_its_own() -> None:
    variants = [
        Mirrors(),
        Mirrors(pip_index_url="https://a.example"),
        Mirrors(npm_registry="https://a.example"),
        Mirrors(certificates=("x",)),
    ]
    assert len({variant.digest for variant in variants}) == len(variants)


def test_files_of_the_node_and_passwords_do_not_travel() -> None:
    urls = ["file:///opt/simple", "https://user:secret@m.example/simple", "https://m.example/simple", ""]
    assert usable_in_sandboxes(urls) == ("https://m.example/simple",)


def test_certificates_are_compared_by_content() -> None:
    bundle = split_pem("comment\n" + PEM.format("AAAABBBB") + PEM.format("AAAA\nBBBB") + PEM.format("CCCC"))
    assert len(bundle) == 2
    assert without(bundle, [PEM.format("CCCC")]) == (PEM.format("AAAABBBB"),)
    assert file_name(bundle[0]) != file_name(bundle[1])
    assert file_name(bundle[0]).endswith(".crt")


def test_single_settings_win_over_the_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text(PEM.format("DDDD"))
    theirs = Mirrors(
        pip_index_url="https://node.example", pip_extra_index_urls=("https://extra.example",), certificates=(PEM.format("AAAA"),)
    )
    monkeypatch.setattr(wiring, "node_mirrors", lambda suite: theirs)
    settings = TemplateSettings(mirrors="node", pip_index_url="https://mine.example", ca_bundle=bundle)
    mirrors = wiring.node_settings(settings, "bookworm")
    assert mirrors.pip_index_url == "https://mine.example"
    assert mirrors.pip_extra_index_urls == ()
    assert mirrors.certificates == (PEM.format("AAAA"), PEM.format("DDDD"))


def test_by_default_nothing_of_the_node_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBANK_TEMPLATE_MIRRORS", "")
    monkeypatch.setattr(wiring, "node_mirrors", lambda suite: pytest.fail("asked the node"))
    assert wiring.node_settings(TemplateSettings(), "bookworm").is_empty


def test_a_bundle_without_certificates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="SANDBANK_TEMPLATE_CA_BUNDLE"):
        wiring.node_settings(TemplateSettings(ca_bundle=tmp_path / "absent.pem"), None)


def test_the_nodes_npm_registry_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".npmrc").write_text("//secret.example/:_authToken=hidden\nregistry=https://npm.example/\n")
    monkeypatch.setattr(node_mirrors, "_NPM_FILES", (str(tmp_path / ".npmrc"),))
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    assert node_mirrors._npm_registry() == "https://npm.example/"
    monkeypatch.setenv("npm_config_registry", "https://variable.example/")
    assert node_mirrors._npm_registry() == "https://variable.example/"


def test_only_additional_certificates_of_the_node_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    (packaged / "usual.crt").write_text(PEM.format("AAAA"))
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(PEM.format("AAAA") + PEM.format("OWNS"))
    monkeypatch.setattr(node_mirrors, "_PACKAGED_CERTIFICATES", packaged)
    monkeypatch.setattr(node_mirrors, "_BUNDLES", (str(bundle),))
    monkeypatch.setattr(node_mirrors, "_BUNDLE_VARIABLES", ())
    assert node_mirrors.node_certificates() == (PEM.format("OWNS"),)


def test_the_recipes_hash_names_its_layer() -> None:
    assert BootstrapRecipe().layer_id == BootstrapRecipe().layer_id
    assert BootstrapRecipe().layer_id != BootstrapRecipe(architecture="arm64").layer_id
    assert BootstrapRecipe().layer_id != BootstrapRecipe(script="true").layer_id
    assert node_requirement().count("--hash=sha256:") == 2
