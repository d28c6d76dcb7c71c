"""Where images come from instead of their registry: the map, what it has by default, and what stands in for what. Pure.

A pattern is a familiar name, `repository:tag`, with `*` for anything. What it leads to is written as `registry:<reference>`, `oci:<path>`
(an OCI layout, as a directory or a tarball, on the node), `bootstrap:<kind>`, or `registry` for the image's own registry.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sandbank.domain.errors import InvalidError, NotFoundError
from sandbank.registry.reference import ImageReference
from sandbank.template_manager.core.bootstrap_recipe import (
    NODE_VERSION,
    SUITE,
    BootstrapRecipe,
    debian_recipe,
    image_recipe,
    node_recipe,
    python_recipe,
)

DEFAULT_MAP: Mapping[str, str] = {
    "debian:*": "bootstrap:debian",
    "e2bdev/base:*": "bootstrap:base",
    "python:*": "bootstrap:python",
    "node:*": "bootstrap:node",
}

_STABLE = "trixie"
_SUITES = {"trixie": "trixie", "13": "trixie", "stable": "trixie", "latest": "trixie"}
_SUITES |= {"bookworm": "bookworm", "12": "bookworm", "oldstable": "bookworm"}
_PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
_VERSION = re.compile(r"(?P<major>\d+)(?:\.(?P<minor>\d+))?(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class FromRegistry:
    """A registry has it. With the caller's credentials only where it is the image's own."""

    reference: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class FromLayout:
    """A file or directory on the node has it."""

    path: str


@dataclass(frozen=True, slots=True)
class FromBootstrap:
    """It is made of Debian's packages. `note` is one sentence for the build's log."""

    recipe: BootstrapRecipe
    note: str


Source = FromRegistry | FromLayout | FromBootstrap


class ImageMirrors:
    """The default map, with an operator's merged over it."""

    def __init__(self, architecture: str, settings: Mapping[str, str] | None = None) -> None:
        """`InvalidError` for settings that mean nothing."""
        self._architecture = architecture
        # The operator's come first, and in their order.
        given = dict(settings or {})
        for pattern, target in given.items():
            _check(pattern, target)
        self._entries = [*given.items(), *((pattern, target) for pattern, target in DEFAULT_MAP.items() if pattern not in given)]

    @property
    def digest(self) -> str:
        """Names this map and all that its bootstraps do."""
        recipes = [find(ImageReference("docker.io", "x"), self._architecture).recipe.layer_id for find in _BOOTSTRAPS.values()]
        return hashlib.sha256(json.dumps([self._entries, recipes]).encode()).hexdigest()[:24]

    def find(self, image: ImageReference) -> Source:
        """Where `image` comes from. `NotFoundError`, naming what there is, for what nothing can honestly stand in for."""
        name = f"{image.familiar}:{image.tag}"
        for pattern, target in () if image.digest else self._entries:
            match = _matcher(pattern).fullmatch(name)
            if match is not None:
                kind, _, rest = target.partition(":")
                for part in match.groups():
                    rest = rest.replace("*", part, 1)
                return self._source(image, kind, rest)
        return FromRegistry(str(image), is_own=True)

    def _source(self, image: ImageReference, kind: str, rest: str) -> Source:
        if kind == "registry":
            return FromRegistry(rest, is_own=False) if rest else FromRegistry(str(image), is_own=True)
        if kind == "oci":
            return FromLayout(rest)
        return _BOOTSTRAPS[rest](image, self._architecture)


def _debian(image: ImageReference, architecture: str) -> FromBootstrap:
    name = image.tag.removesuffix("-slim").partition(".")[0]
    if name not in _SUITES:
        raise _nothing(image, f"there are the tags {', '.join(_SUITES)}, each also with -slim")
    suite = _SUITES[name]
    return FromBootstrap(
        debian_recipe(suite, architecture), f"Debian {suite}, bootstrapped from its packages, stands in for {_name(image)}"
    )


def _base(image: ImageReference, architecture: str) -> FromBootstrap:
    if image.tag != "latest":
        raise _nothing(image, "there is only the tag latest")
    note = f"Debian {SUITE} with Python 3.11 and Node.js {NODE_VERSION}, bootstrapped from packages, stands in for {_name(image)}"
    return FromBootstrap(image_recipe(architecture), note)


def _python(image: ImageReference, architecture: str) -> FromBootstrap:
    there_is = (
        "there is Debian's Python 3.11 (bookworm) and 3.13 (trixie), for the tags 3, 3.x, slim, bookworm, trixie and their combinations"
    )
    version, suite = _variant(image, there_is, default="3")
    match = _VERSION.fullmatch(version)
    if match is None or match["major"] != "3":
        raise _nothing(image, there_is)
    if not suite:
        suite = "bookworm" if match["minor"] is not None and int(match["minor"]) <= 11 else _STABLE
    note = f"Debian's Python {_PYTHONS[suite]} ({suite}), bootstrapped from packages, stands in for {_name(image)}"
    return FromBootstrap(python_recipe(suite, architecture), note)


def _node(image: ImageReference, architecture: str) -> FromBootstrap:
    major = NODE_VERSION.partition(".")[0]
    there_is = f"there is Node.js {NODE_VERSION}, for the tags lts, latest, current, {major} and {NODE_VERSION}, each also with -slim"
    version, suite = _variant(image, there_is, default="latest")
    if version not in ("lts", "latest", "current", "krypton") and not f"{NODE_VERSION}.".startswith(f"{version}."):
        raise _nothing(image, there_is)
    suite = suite or SUITE
    note = f"Node.js {NODE_VERSION} on Debian {suite}, bootstrapped from packages, stands in for {_name(image)}"
    return FromBootstrap(node_recipe(suite, architecture), note)


_BOOTSTRAPS = {"debian": _debian, "base": _base, "python": _python, "node": _node}


def _variant(image: ImageReference, there_is: str, default: str) -> tuple[str, str]:
    """A tag as its version and its suite, the latter empty when it names none."""
    version, suite = default, ""
    for number, part in enumerate(image.tag.split("-")):
        if part in ("bookworm", "trixie") and not suite:
            suite = part
        elif number == 0 and part not in ("slim", "latest"):
            version = part
        elif part not in ("slim", "latest"):
            raise _nothing(image, there_is)
    return version, suite


def _name(image: ImageReference) -> str:
    return f"{image.familiar}:{image.tag}"


def _nothing(image: ImageReference, there_is: str) -> NotFoundError:
    return NotFoundError(
        f"image '{_name(image)}' not found: this node makes {image.familiar} from Debian's packages, and {there_is}."
        " Its operator can name another source in SANDBANK_TEMPLATE_IMAGE_MIRRORS"
    )


def _check(pattern: str, target: str) -> None:
    kind, colon, rest = target.partition(":")
    is_good = {
        "registry": rest != "" or not colon,
        "oci": rest.startswith("/"),
        "bootstrap": rest in _BOOTSTRAPS,
    }.get(kind, False)
    if not is_good or rest.count("*") > pattern.count("*"):
        raise InvalidError(
            f"SANDBANK_TEMPLATE_IMAGE_MIRRORS: {pattern!r} leads to {target!r}, which is none of registry, registry:<reference>,"
            f" oci:</path> and bootstrap:<{'|'.join(_BOOTSTRAPS)}>"
        )


def _matcher(pattern: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(re.escape(part) for part in pattern.split("*")))
