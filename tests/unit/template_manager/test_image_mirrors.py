"""What stands in for which image, and that it is said; what nothing can stand in for is refused by name."""

from __future__ import annotations

import pytest

from sandbank.domain.errors import InvalidError, NotFoundError
from sandbank.registry.reference import parse_reference
from sandbank.template_manager.core.image_mirrors import FromBootstrap, FromLayout, FromRegistry, ImageMirrors, Source


def find(image: str, settings: dict[str, str] | None = None) -> Source:
    return ImageMirrors("amd64", settings).find(parse_reference(image))


@pytest.mark.parametrize(
    ("image", "suite", "package", "note"),
    [
        ("debian:stable", "trixie", "sudo", "Debian trixie"),
        ("debian", "trixie", "sudo", "debian:latest"),
        ("docker.io/library/debian:bookworm-slim", "bookworm", "curl", "Debian bookworm"),
        ("debian:12.9", "bookworm", "curl", "debian:12.9"),
        ("e2bdev/base", "bookworm", "make", "e2bdev/base:latest"),
        ("python:3", "trixie", "python3-pip", "Python 3.13"),
        ("python:3.11-slim", "bookworm", "python3-pip", "Python 3.11"),
        ("python:3.12", "trixie", "python3-pip", "Python 3.13 (trixie), bootstrapped from packages, stands in for python:3.12"),
        ("python:3.13-slim-bookworm", "bookworm", "python3-venv", "Python 3.11"),
        ("python:slim", "trixie", "python3-venv", "Python 3.13"),
        ("node:lts", "bookworm", "sudo", "Node.js 24.19.0"),
        ("node:24-trixie-slim", "trixie", "sudo", "Node.js 24.19.0"),
    ],
)
def test_packages_of_debian_stand_in_and_say_so(image: str, suite: str, package: str, note: str) -> None:
    source = find(image)
    assert isinstance(source, FromBootstrap)
    assert source.recipe.suite == suite
    assert package in source.recipe.packages
    assert note in source.note
    assert "stands in for" in source.note


@pytest.mark.parametrize(
    "image",
    [
        *"debian:buster debian:sid python:2 python:2.7-slim python:3-alpine python:3.x".split(),
        *"python:rc node:18 node:20-slim node:lts-alpine e2bdev/base:old".split(),
    ],
)
def test_what_nothing_stands_in_for_is_refused_and_what_there_is_named(image: str) -> None:
    with pytest.raises(NotFoundError, match=rf"^image '{image}' not found: this node makes .* there "):
        find(image)


@pytest.mark.parametrize(
    "image", ["ubuntu:24.04", "fedora:44", "alpine:3.24", "archlinux", "oven/bun", "ghcr.io/debian:12", "other/debian"]
)
def test_all_others_come_from_their_registry(image: str) -> None:
    assert find(image) == FromRegistry(str(parse_reference(image)), is_own=True)


def test_a_digest_is_not_stood_in_for() -> None:
    assert isinstance(find("debian@sha256:" + "0" * 64), FromRegistry)


def test_an_operators_map_wins() -> None:
    settings = {
        "debian:12": "registry",
        "debian:*": "registry:mirror.example/debian:*",
        "ubuntu:*": "oci:/srv/ubuntu-*",
        "ghcr.io/*:*": "registry:mirror.example/ghcr/*:*",
        "company/base:latest": "bootstrap:base",
    }
    assert find("debian:12", settings) == FromRegistry("docker.io/library/debian:12", is_own=True)
    assert find("debian:13", settings) == FromRegistry("mirror.example/debian:13", is_own=False)
    assert find("ubuntu:24.04", settings) == FromLayout("/srv/ubuntu-24.04")
    assert find("ghcr.io/a/b:c", settings) == FromRegistry("mirror.example/ghcr/a/b:c", is_own=False)
    assert isinstance(find("company/base", settings), FromBootstrap)
    assert isinstance(find("python:3", settings), FromBootstrap)
    assert ImageMirrors("amd64", settings).digest != ImageMirrors("amd64").digest


@pytest.mark.parametrize("target", ["", "http://x", "registry:", "oci:relative", "bootstrap:fedora", "registry:x/*:*"])
def test_a_map_that_means_nothing_is_refused(target: str) -> None:
    with pytest.raises(InvalidError, match="SANDBANK_TEMPLATE_IMAGE_MIRRORS"):
        ImageMirrors("amd64", {"debian:*": target})
