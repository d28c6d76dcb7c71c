"""The files that builds start from: layers of images, pulled, imported or bootstrapped, placed once on this node."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from weakref import WeakValueDictionary

from sandbank.aiokit.tasks import finish
from sandbank.artifacts.layers import LayerStore
from sandbank.registry.credentials import RegistryCredentials
from sandbank.registry.limits import PullLimits
from sandbank.registry.pull import OpenImage, open_image, open_layout
from sandbank.registry.reference import parse_reference
from sandbank.template_manager.adapters.bootstrap_layers import BootstrapLayers, Programs
from sandbank.template_manager.adapters.mirror_layer import MirrorLayer, read_text
from sandbank.template_manager.core.distributions import Distribution, Family, debian_suite
from sandbank.template_manager.core.image_mirrors import FromBootstrap, FromLayout, ImageMirrors
from sandbank.template_manager.core.mirrors import Mirrors
from sandbank.template_manager.core.provisioning import provision_script, user_script

_FORMAT = "1"  # of what is done to an image besides: count up when that changes
_FAMILIES: tuple[Family, ...] = ("debian", "fedora", "arch", "alpine")


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What a build starts from: directories of this node's `LayerStore`, lowest first, and the image's ENV."""

    layers: tuple[Path, ...]
    env: dict[str, str]


@dataclass(frozen=True, slots=True)
class NodeImages:
    """What a node knows of images. `mirrors` has its settings for a suite of Debian, or for what is not Debian."""

    architecture: str
    images: ImageMirrors
    mirrors: Callable[[str | None], Mirrors]
    limits: PullLimits


class BaseImages:
    """Gets images. Any number may be got at once; each layer is made by one of them, and the others wait for it."""

    def __init__(self, artifacts: Path, layers: LayerStore, bootstraps: BootstrapLayers, node: NodeImages) -> None:
        self._artifacts = artifacts
        self._layers = layers
        self._bootstraps = bootstraps
        self._node = node
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @cached_property
    def version(self) -> str:
        """Names all that bases are made with besides the image itself: another one makes cached layers of builds worthless."""
        scripts = [provision_script(Distribution(family, family)) for family in _FAMILIES]
        parts = [_FORMAT, self._node.images.digest, self._node.mirrors(None).digest, user_script(), *scripts]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]

    @property
    def env_vars(self) -> dict[str, str]:
        """What sandboxes need to hear of this node's certificates."""
        return self._node.mirrors(None).env_vars()

    def is_made(self, image: str) -> bool:
        """Whether a bootstrapped image has nothing long to do; others have to be looked up."""
        source = self._node.images.find(parse_reference(image))
        return isinstance(source, FromBootstrap) and self._layers.find(source.recipe.layer_id) is not None

    async def get(self, image: str, credentials: RegistryCredentials | None, *, force: bool, log: Callable[[str], None]) -> BaseImage:
        """The layers of `image`, made now as far as they are missing; `log` hears a line per step, and what stands in for what.

        Domain errors in the words of contract templates-and-data §1.12. A tag is looked up each time, so `force` finds nothing newer;
        what was bootstrapped is not bootstrapped again. Cancelled or failed, no layer is there that was not there before.
        """
        reference = parse_reference(image)
        source = self._node.images.find(reference)
        if isinstance(source, FromBootstrap):
            log(source.note)
            layer = await self._bootstrapped(source, force, log)
            return BaseImage(await self._with_mirrors(layer, source.recipe.suite, is_own=True), {})
        limits = self._node.limits
        opening: AbstractAsyncContextManager[OpenImage]
        if isinstance(source, FromLayout):
            log(f"The OCI layout {source.path} on this node stands in for {image}")
            opening = open_layout(Path(source.path), image, architecture=self._node.architecture, limits=limits)
        else:
            if not source.is_own:
                log(f"The mirror {source.reference} stands in for {image}")
            used = credentials if source.is_own else None
            opening = open_image(source.reference, image, credentials=used, architecture=self._node.architecture, limits=limits)
        async with opening as opened:
            layer = await self._pulled(opened, log)
            suite = debian_suite(await asyncio.to_thread(read_text, layer, "/etc/os-release"))
            return BaseImage(await self._with_mirrors(layer, suite, is_own=False), dict(opened.facts.env))

    async def _bootstrapped(self, source: FromBootstrap, force: bool, log: Callable[[str], None]) -> Path:
        recipe = source.recipe
        if force and self._layers.find(recipe.layer_id) is not None:
            log("It was bootstrapped before, and is used as it is")
        loop = asyncio.get_running_loop()
        programs = Programs()

        def say(line: str) -> None:
            loop.call_soon_threadsafe(log, line)

        async with self._lock(recipe.layer_id):
            making = loop.run_in_executor(None, lambda: self._bootstraps.get(recipe, say, programs=programs))
            try:
                return await asyncio.shield(making)
            except asyncio.CancelledError:
                programs.end()
                await finish(_settled(making))
                raise

    async def _pulled(self, opened: OpenImage, log: Callable[[str], None]) -> Path:
        name = hashlib.sha256(f"{_FORMAT}/{self._node.architecture}/{opened.facts.digest}".encode()).hexdigest()
        layer_id = f"image-{name[:24]}"
        async with self._lock(layer_id):
            found = self._layers.find(layer_id)
            if found is None:
                async with self._make(layer_id) as root:
                    await opened.unpack(root, log)
                found = self._layers.find(layer_id)
                assert found is not None
            return found

    async def _with_mirrors(self, layer: Path, suite: str | None, *, is_own: bool) -> tuple[Path, ...]:
        mirrors = await asyncio.to_thread(self._node.mirrors, suite)
        if mirrors.is_empty:
            return (layer,)
        making = MirrorLayer(self._layers, self._artifacts)
        async with self._lock(MirrorLayer.layer_id(layer.name, mirrors)):
            return (layer, await finish(asyncio.to_thread(making.get, layer, mirrors, is_own=is_own)))

    @asynccontextmanager
    async def _make(self, layer_id: str) -> AsyncIterator[Path]:
        """`LayerStore.make`, off the event loop."""
        making = self._layers.make(layer_id)
        root = await finish(asyncio.to_thread(making.__enter__))
        try:
            yield root
        except BaseException:
            await finish(asyncio.to_thread(making.__exit__, *sys.exc_info()))
            raise
        await finish(asyncio.to_thread(making.__exit__, None, None, None))

    def _lock(self, layer_id: str) -> asyncio.Lock:
        return self._locks.setdefault(layer_id, asyncio.Lock())


async def _settled(making: asyncio.Future[Path]) -> None:
    await asyncio.wait([making])
    if not making.cancelled():
        making.exception()  # seen: the cancellation travels on instead
