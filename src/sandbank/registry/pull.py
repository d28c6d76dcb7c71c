"""Images become directories: the whole way from a name to files."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sandbank.aiokit.tasks import finish
from sandbank.domain.errors import DeadlineError, InvalidError, SandbankError, UnavailableError
from sandbank.registry import failures
from sandbank.registry.authorization import Authorization
from sandbank.registry.connection import Connection
from sandbank.registry.credentials import RegistryCredentials
from sandbank.registry.layout_source import LayoutSource
from sandbank.registry.limits import PullLimits
from sandbank.registry.manifest import Descriptor, ImageConfig, Manifest, others, parse_config, parse_document, pick
from sandbank.registry.reference import parse_reference
from sandbank.registry.registry_source import RegistrySource
from sandbank.registry.source import ImageSource
from sandbank.registry.unpacking import Room, unpack_layer

_REPORT_SECONDS = 5.0
_DEEPEST_INDEX = 3


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of an image: `digest` is its manifest's, `size_bytes` its layers' as they are sent; the image's user and command are
    nobody's business here (contract templates-and-data §1.2.3)."""

    digest: str
    env: dict[str, str]
    size_bytes: int
    architecture: str


class OpenImage:
    """An image that can be unpacked while it is open."""

    def __init__(self, image: str, source: ImageSource, limits: PullLimits, digest: str, manifest: Manifest, config: ImageConfig) -> None:
        self._image = image
        self._source = source
        self._limits = limits
        self._parts = list(zip(manifest.layers, config.diff_ids, strict=True))
        size_bytes = sum(layer.size for layer in {layer.digest: layer for layer in manifest.layers}.values())
        self.facts = ImageFacts(digest, config.env, size_bytes, config.architecture)

    async def unpack(self, target: Path, progress: Callable[[str], None]) -> int:
        """Put its files into `target`, an empty directory, owned as in the image; their bytes. Needs root.

        Layers wait without names beside `target`, so that nothing of them survives. Cancelled or failed, `target` is empty again.
        """
        try:
            async with asyncio.timeout(self._limits.total_seconds):
                return await self._unpack(target, progress)
        except BaseException as error:
            await finish(asyncio.to_thread(_empty, target))
            if isinstance(error, TimeoutError):
                why = f"it took longer than {self._limits.total_seconds:.0f} seconds"
                raise DeadlineError(f"failed to pull image '{self._image}': {why}") from error
            raise

    async def _unpack(self, target: Path, progress: Callable[[str], None]) -> int:
        wanted = {layer.digest: layer for layer, _ in self._parts}
        received = dict.fromkeys(wanted, 0)
        at_once = asyncio.Semaphore(self._limits.downloads_at_once)
        files: dict[str, IO[bytes]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                reporting = group.create_task(self._report(received, progress), name="pull.report")
                downloads = {
                    digest: group.create_task(self._download(layer, target.parent, received, files, at_once), name=f"pull.{digest[:19]}")
                    for digest, layer in wanted.items()
                }
                size_bytes = await self._apply(downloads, target, progress)
                reporting.cancel()
            return size_bytes
        except BaseExceptionGroup as failed:
            raise _first(failed) from failed
        finally:
            for file in files.values():
                file.close()

    async def _download(
        self, layer: Descriptor, directory: Path, received: dict[str, int], files: dict[str, IO[bytes]], at_once: asyncio.Semaphore
    ) -> IO[bytes]:
        async with at_once:
            file = files[layer.digest] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed by whoever asked for it
            try:
                await self._source.blob(layer, file, lambda count: received.__setitem__(layer.digest, count))
            except OSError as error:
                raise UnavailableError(f"failed to pull image '{self._image}': it cannot be kept ({error.strerror})") from error
        return file

    async def _apply(self, downloads: dict[str, asyncio.Task[IO[bytes]]], target: Path, progress: Callable[[str], None]) -> int:
        used_bytes = used_entries = 0
        total = len(self._parts)
        for number, (layer, diff_id) in enumerate(self._parts, 1):
            file = await downloads[layer.digest]
            limits = self._limits
            room = Room(limits.total_bytes - used_bytes, limits.entries - used_entries, limits.total_mb, used_bytes)
            try:
                unpacked = await unpack_layer(file, diff_id, target, room)
            except InvalidError as error:
                if error.message.startswith("the uncompressed"):
                    raise
                raise failures.dishonest(self._image, f"layer {number} of {total} ({layer.digest[:19]}): {error.message}") from error
            used_bytes += unpacked.size_bytes
            used_entries += unpacked.entries
            for warning in unpacked.warnings:
                progress(f"Layer {number}/{total}: {warning}")
            progress(f"Unpacked layer {number}/{total} ({_mb(unpacked.size_bytes)})")
        progress(f"Base Docker image size: {_mb(used_bytes)}")
        return used_bytes

    async def _report(self, received: dict[str, int], progress: Callable[[str], None]) -> None:
        total = self.facts.size_bytes
        progress(f"Pulling {len(received)} layers, {_mb(total)} compressed")
        said = 0
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            now = sum(received.values())
            if now != said:
                progress(f"Downloaded {_mb(now)} of {_mb(total)}")
                said = now


@asynccontextmanager
async def open_image(
    reference: str, image: str, *, credentials: RegistryCredentials | None, architecture: str, limits: PullLimits
) -> AsyncIterator[OpenImage]:
    """The image that `reference` names in its registry, its manifest read; `image` is what its user calls it.

    `architecture` is as images have it, `amd64`. Domain errors in the words of contract templates-and-data §1.12.
    """
    parsed = parse_reference(reference)
    async with Connection(image, parsed.api_host, limits) as connection:
        authorization = Authorization(image, parsed, credentials, connection)
        yield await _open(image, RegistrySource(image, parsed, authorization, connection, limits), architecture, limits)


@asynccontextmanager
async def open_layout(path: Path, image: str, *, architecture: str, limits: PullLimits) -> AsyncIterator[OpenImage]:
    """The image in an OCI layout on this machine: a directory, or a tarball of one."""
    if await asyncio.to_thread(path.is_dir):
        yield await _open(image, LayoutSource(image, path), architecture, limits)
        return
    with tempfile.TemporaryDirectory(prefix="sandbank-layout-", dir="/var/tmp") as scratch:
        try:
            await finish(asyncio.to_thread(_extract, path, Path(scratch)))
        except (OSError, tarfile.TarError) as error:
            raise failures.unreachable(image, f"{path} is not a tarball of an OCI layout: {error}") from error
        yield await _open(image, LayoutSource(image, Path(scratch)), architecture, limits)


async def pull_image(
    reference: str,
    *,
    credentials: RegistryCredentials | None,
    architecture: str,
    target: Path,
    limits: PullLimits,
    progress: Callable[[str], None],
) -> ImageFacts:
    """Put the files of an image into the empty directory `target`; as `open_image` and `OpenImage.unpack`."""
    async with open_image(reference, reference, credentials=credentials, architecture=architecture, limits=limits) as image:
        await image.unpack(target, progress)
        return image.facts


async def _open(image: str, source: ImageSource, architecture: str, limits: PullLimits) -> OpenImage:
    try:
        found = await source.top()
        for _ in range(_DEEPEST_INDEX):
            parsed = parse_document(found.body, found.media_type)
            if isinstance(parsed, Manifest):
                return await _checked(image, source, limits, architecture, found.digest, parsed)
            chosen = pick(parsed, architecture)
            if chosen is None:
                raise failures.wrong_architecture(others(parsed), architecture)
            found = await source.document(chosen)
        raise ValueError("its indexes lead to indexes only")
    except ValueError as error:
        raise failures.dishonest(image, str(error)) from error


async def _checked(image: str, source: ImageSource, limits: PullLimits, architecture: str, digest: str, manifest: Manifest) -> OpenImage:
    config = parse_config((await source.document(manifest.config)).body)
    if config.os != "linux":
        raise failures.dishonest(image, f"it is not for Linux but for {config.os[:40]}")
    if config.architecture != architecture:
        raise failures.wrong_architecture(config.architecture[:40], architecture)
    if len(config.diff_ids) != len(manifest.layers):
        raise ValueError("its configuration does not fit its manifest")
    if len(manifest.layers) > limits.layers:
        raise ValueError(f"it has more than {limits.layers} layers")
    compressed = sum(layer.size for layer in manifest.layers)
    if compressed > limits.total_bytes:
        raise failures.too_large(compressed, limits.total_mb)
    return OpenImage(image, source, limits, digest, manifest, config)


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """What to say of several failures at once: the first that has a meaning for users."""
    leaves: list[BaseException] = []
    waiting = list(failed.exceptions)
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        else:
            leaves.append(one)
    return next((leaf for leaf in leaves if isinstance(leaf, SandbankError)), leaves[0])


def _extract(path: Path, target: Path) -> None:
    """An operator's tarball; links and the like are not part of a layout."""
    (target / "blobs/sha256").mkdir(parents=True)
    with tarfile.open(path) as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            is_blob = name.startswith("blobs/sha256/") and name.count("/") == 2 and ".." not in name
            content = archive.extractfile(entry) if entry.isreg() and (is_blob or name == "index.json") else None
            if content is not None:
                with (target / name).open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)


def _empty(directory: Path) -> None:
    # By the system's program: it goes into directories deeper than Python's recursion would.
    if children := [str(child) for child in directory.iterdir()] if directory.is_dir() else []:
        subprocess.run(["rm", "-rf", "--one-file-system", "--", *children], check=False)


def _mb(size_bytes: int) -> str:
    return f"{-(-size_bytes // 1_000_000)} MB"
