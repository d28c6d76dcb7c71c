"""Manifests and challenges, which strangers write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.registry.challenge import Challenge, parse_challenge
from sandbank.registry.limits import PullLimits
from sandbank.registry.manifest import Manifest, others, parse_config, parse_document, pick

DIGEST = "sha256:" + "0" * 64
PART = {"digest": DIGEST, "size": 1, "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


def index(*platforms: dict[str, str]) -> bytes:
    manifests = [{**PART, "digest": f"sha256:{number:064}", "platform": platform} for number, platform in enumerate(platforms)]
    return json.dumps({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}).encode()


def test_the_plainest_image_for_a_machine_is_picked() -> None:
    found = parse_document(
        index(
            {"os": "windows", "architecture": "arm64"},
            {"os": "linux", "architecture": "arm64", "variant": "v9"},
            {"os": "linux", "architecture": "arm64", "variant": "v8"},
            {"os": "unknown", "architecture": "unknown"},
        ),
        "",
    )
    assert isinstance(found, tuple)
    chosen = pick(found, "arm64")
    assert chosen is not None
    assert chosen.digest.endswith("2")
    assert pick(found, "amd64") is None
    assert others(found) == "arm64"


def test_dockers_manifests_are_known_by_their_header_too() -> None:
    body = json.dumps({"schemaVersion": 2, "config": PART, "layers": [PART]}).encode()
    assert isinstance(parse_document(body, f"{DOCKER}; charset=utf-8"), Manifest)


@pytest.mark.parametrize("media_type", ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/wasm", ""])
def test_layers_that_cannot_be_unpacked_are_refused(media_type: str) -> None:
    body = json.dumps({"schemaVersion": 2, "config": PART, "layers": [{**PART, "mediaType": media_type}]}).encode()
    with pytest.raises(ValueError, match="format that is not supported"):
        parse_document(body, DOCKER)


KEYS = "mediaType config layers manifests digest size platform Env rootfs diff_ids os schemaVersion".split()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_understood_or_refused(document: Any) -> None:
    body = json.dumps(document).encode()
    for parse in (lambda: parse_document(body, DOCKER), lambda: parse_config(body)):
        try:
            parse()
        except ValueError:
            continue


def test_variables_keep_what_follows_the_first_sign() -> None:
    config = parse_config(b'{"architecture": "amd64", "config": {"Env": ["A=1=2", "B=", "=x", "C"]}}')
    assert config.env == {"A": "1=2", "B": "", "C": ""}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        (["Negotiate abc"], None),
        (['Basic realm="x, y"', 'Bearer realm="https://a/b",service="s"'], Challenge("bearer", {"realm": "https://a/b", "service": "s"})),
        (["BASIC"], Challenge("basic", {})),
    ],
)
def test_tokens_are_preferred_to_passwords(headers: list[str], expected: Challenge | None) -> None:
    assert parse_challenge(headers) == expected


@given(st.lists(st.text(max_size=200), max_size=3))
def test_any_challenge_is_understood_or_passed_over(headers: list[str]) -> None:
    parse_challenge(headers)


def test_only_named_registries_do_without_tls() -> None:
    limits = PullLimits(trusted_registries=("http://plain.corp:80", "private.corp", "http://localhost"))
    assert [host for host in ("localhost:5000", "localhost", "plain.corp:80") if not limits.is_plain(host)] == []
    assert [host for host in ("private.corp", "localhost.evil", "127.0.0.1:5000", "plain.corp", "10.0.0.1") if limits.is_plain(host)] == []
    assert limits.is_trusted("private.corp")
    assert limits.is_trusted("private.corp:5000")
    assert not PullLimits(trusted_registries=("private.corp:5000",)).is_trusted("private.corp")
