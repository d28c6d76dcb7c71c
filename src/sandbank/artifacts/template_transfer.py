"""Template builds on their way to other nodes and from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sandbank.artifacts.builds import Build, BuildStore, from_json, to_json
from sandbank.artifacts.exchange import TEMPLATE, Description, Exchange, Manifest, Part
from sandbank.artifacts.shared_parts import LAYERS, SharedParts
from sandbank.domain.errors import InternalError


class TemplateTransfer:
    """The builds of one node. Methods block."""

    def __init__(self, builds: BuildStore, data_dir: Path) -> None:
        self._builds = builds
        self._shared = SharedParts(data_dir)

    def describe(self, build: Build) -> Description:
        """What another node needs."""
        return Description(TEMPLATE, to_json(build), tuple(Part(f"{LAYERS}/{layer.name}", layer) for layer in build.layers))

    def place(self, exchange: Exchange, manifest: Manifest) -> None:
        """Have the build on this node, complete or absent; errors as `Exchange`'s."""
        self._shared.fetch(exchange, manifest)
        try:
            build = from_json(manifest.document, self._builds.layers_dir)
        except (KeyError, TypeError, ValueError) as error:
            raise InternalError(f"the manifest of build {manifest.build_id} in storage is damaged: {error}") from error
        self._builds.publish(replace(build, build_id=manifest.build_id))
