"""Connects what a node knows of images."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from sandbank.artifacts.layers import LayerStore
from sandbank.domain.errors import InvalidError
from sandbank.registry.limits import PullLimits
from sandbank.template_manager.adapters.base_images import BaseImages, NodeImages
from sandbank.template_manager.adapters.bootstrap_layers import BootstrapLayers
from sandbank.template_manager.adapters.node_mirrors import node_apt_sources, node_mirrors, read_certificates
from sandbank.template_manager.core.apt_sources import debian_mirror
from sandbank.template_manager.core.bootstrap_recipe import SUITE
from sandbank.template_manager.core.image_mirrors import ImageMirrors
from sandbank.template_manager.core.mirrors import Mirrors
from sandbank.template_manager.settings import TemplateSettings

BASE_IMAGE = "e2bdev/base"
"""What the `base` template starts from, as the clients' builders do unless they say otherwise."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def node_settings(settings: TemplateSettings, suite: str | None) -> Mirrors:
    """What `settings` come to on this node for a suite of Debian, or for what is not Debian; `InvalidError` for an unreadable bundle."""
    mirrors = node_mirrors(suite or SUITE) if settings.mirrors == "node" else Mirrors()
    if suite is None:
        mirrors = replace(mirrors, apt_sources=())
    elif settings.apt_mirror:
        mirrors = replace(mirrors, apt_sources=debian_mirror(suite, settings.apt_mirror, settings.apt_security_mirror or None))
    if settings.pip_index_url:
        mirrors = replace(mirrors, pip_index_url=settings.pip_index_url, pip_extra_index_urls=())
    if settings.npm_registry:
        mirrors = replace(mirrors, npm_registry=settings.npm_registry)
    if settings.ca_bundle is not None:
        certificates = read_certificates([settings.ca_bundle])
        if not certificates:
            raise InvalidError(f"SANDBANK_TEMPLATE_CA_BUNDLE: {settings.ca_bundle} is not a file with certificates in PEM")
        mirrors = replace(mirrors, certificates=tuple(dict.fromkeys([*mirrors.certificates, *certificates])))
    return mirrors


def _architecture() -> str:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise InvalidError(f"templates cannot be built for {machine}: amd64 and arm64 are supported")
    return _ARCHITECTURES[machine]


def build_images(artifacts: Path, settings: TemplateSettings, *, trusted: Sequence[str] = ()) -> BaseImages:
    """The images of this node, their layers kept under `artifacts`; `InvalidError` for settings that mean nothing.

    `trusted` are registries to trust besides those of the settings.
    """
    layers, architecture = LayerStore(artifacts), _architecture()

    @cache
    def mirrors(suite: str | None) -> Mirrors:
        return node_settings(settings, suite)

    names = [name.strip().rstrip("/") for name in settings.trusted_registries.split(",") if name.strip()]
    limits = PullLimits(total_mb=settings.image_limit_mb, trusted_registries=(*names, *trusted))
    node = NodeImages(architecture, ImageMirrors(architecture, _image_mirrors(settings.image_mirrors)), mirrors, limits)
    return BaseImages(artifacts, layers, BootstrapLayers(layers, node_apt_sources), node)


def _image_mirrors(setting: str) -> dict[str, str]:
    text = setting.strip()
    try:
        document = json.loads(text if text.startswith("{") else Path(text).read_text()) if text else {}
    except (OSError, ValueError) as error:
        raise InvalidError(f"SANDBANK_TEMPLATE_IMAGE_MIRRORS is neither JSON nor a file with JSON: {error}") from error
    if not isinstance(document, dict) or not all(isinstance(target, str) for target in document.values()):
        raise InvalidError("SANDBANK_TEMPLATE_IMAGE_MIRRORS must be a JSON object of names and sources")
    return document
