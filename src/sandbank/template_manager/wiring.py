"""Connects the base template's parts for one node."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sandbank.artifacts.builds import Build, BuildStore
from sandbank.artifacts.layers import LayerStore, size_mib
from sandbank.domain.errors import InvalidError, NotFoundError
from sandbank.template_manager.adapters.base_layer import BaseLayer
from sandbank.template_manager.adapters.mirror_layer import MirrorLayer
from sandbank.template_manager.adapters.node_mirrors import node_apt_sources, node_mirrors, read_certificates
from sandbank.template_manager.core.apt_sources import debian_mirror
from sandbank.template_manager.core.base_recipe import SUITE, BaseRecipe
from sandbank.template_manager.core.mirrors import Mirrors
from sandbank.template_manager.settings import TemplateSettings
from sandbank.version import ENVD_VERSION

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_BUILD_NAMESPACE = uuid.UUID("6f0b7a5e-52a1-4d6e-9a0e-6b0f4b0f8a55")
BASE_TEMPLATE_ID = "base"


class BaseTemplate:
    """The `base` template of this node: layers made when they are missing, and the build that names them."""

    def __init__(self, artifacts: Path, settings: TemplateSettings) -> None:
        machine = platform.machine()
        if machine not in _ARCHITECTURES:
            raise InvalidError(f"the base template cannot be built for {machine}: amd64 and arm64 are supported")
        self._recipe = BaseRecipe(architecture=_ARCHITECTURES[machine])
        self._layers = LayerStore(artifacts)
        self._builds = BuildStore(artifacts)
        self._artifacts = artifacts
        self._settings = settings

    @property
    def is_built(self) -> bool:
        """Whether `prepare` has nothing long to do."""
        return self._layers.find(self._recipe.layer_id) is not None

    def get(self, build_id: str) -> Build:
        """A build that `prepare` returned, also in another process; `NotFoundError` when there is no such build."""
        build = self._builds.find(build_id)
        if build is None:
            raise NotFoundError(f"build {build_id} is not on this node")
        return build

    def prepare(self, progress: Callable[[str], None]) -> Build:
        """The ready build, made now as far as it is missing. Blocks, a minute at first. `UnavailableError` when packages cannot be had."""
        mirrors = self.mirrors()
        base_id = self._recipe.layer_id
        layer_ids = (base_id,) if mirrors.is_empty else (base_id, MirrorLayer.layer_id(base_id, mirrors))
        build_id = _build_id(layer_ids)
        base = BaseLayer(self._layers, self._recipe, node_apt_sources(SUITE)).get(_identity(_build_id(layer_ids[:1])), progress)
        layers = [base]
        if not mirrors.is_empty:
            layers.append(MirrorLayer(self._layers, self._artifacts).get(base, mirrors, _identity(build_id)))
        found = self._builds.find(build_id)
        if found is not None:
            return found
        build = Build(
            build_id=build_id,
            template_id=BASE_TEMPLATE_ID,
            layers=tuple(layers),
            default_user="user",
            env_vars={"LANG": "C.UTF-8", **mirrors.env_vars()},
            envd_version=ENVD_VERSION,
            size_mib=sum(size_mib(layer) for layer in layers),
        )
        self._builds.publish(build)
        return build

    def mirrors(self) -> Mirrors:
        """What the settings come to on this node; `InvalidError` when the bundle named there cannot be read."""
        settings = self._settings
        mirrors = node_mirrors(SUITE) if settings.mirrors == "node" else Mirrors()
        if settings.apt_mirror:
            mirrors = replace(mirrors, apt_sources=debian_mirror(SUITE, settings.apt_mirror, settings.apt_security_mirror or None))
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


def _build_id(layer_ids: tuple[str, ...]) -> str:
    # The same layers under a newer agent are another build: clients gate features on the version recorded with it.
    return str(uuid.uuid5(_BUILD_NAMESPACE, "/".join((ENVD_VERSION, *layer_ids))))


def _identity(build_id: str) -> str:
    return f"ENV_ID={BASE_TEMPLATE_ID}\nTEMPLATE_ID={BASE_TEMPLATE_ID}\nBUILD_ID={build_id}\n"


def build(artifacts: Path, settings: TemplateSettings) -> BaseTemplate:
    """The base template kept under `artifacts`."""
    return BaseTemplate(artifacts, settings)
