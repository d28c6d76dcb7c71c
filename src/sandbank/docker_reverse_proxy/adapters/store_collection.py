"""Removing from the image store what nobody can want any more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbank.docker_reverse_proxy.adapters.store_files import StoreFiles
from sandbank.docker_reverse_proxy.core.images import parse_manifest
from sandbank.domain.errors import InvalidError


@dataclass(slots=True)
class Collected:
    """How much went."""

    templates: int = 0
    images: int = 0
    uploads: int = 0
    blobs: int = 0
    freed_bytes: int = 0


class StoreCollection:
    """Works beside requests: what was touched lately stays, and looking once more and removing are one step under the files' lock."""

    def __init__(self, files: StoreFiles, is_busy: Callable[[str], bool]) -> None:
        self._files = files
        self._is_busy = is_busy

    def list_templates(self) -> list[str]:
        """The templates that images are kept of."""
        return _names(self._files.repositories)

    def collect(self, gone: set[str]) -> Collected:
        """Remove what is left of the templates that are `gone`, images that are too old, and what no image needs. Blocks."""
        done = Collected()
        self._collect_uploads(gone, done)
        for template_id in _names(self._files.repositories):
            if template_id in gone:
                with self._files.lock:
                    shutil.rmtree(self._files.repositories / template_id, ignore_errors=True)
                done.templates += 1
            else:
                self._collect_repository(template_id, done)
        self._collect_blobs(done)
        return done

    def _collect_uploads(self, gone: set[str], done: Collected) -> None:
        for upload_id in _names(self._files.uploads):
            directory = self._files.uploads / upload_id
            if self._is_busy(upload_id):
                continue
            data = directory / "data"
            age_hours = self._files.age_hours(data if data.exists() else directory)
            if age_hours > self._files.limits.abandoned_hours or _content(directory / "repository") in gone:
                shutil.rmtree(directory, ignore_errors=True)
                done.uploads += 1

    def _collect_repository(self, template_id: str, done: Collected) -> None:
        directory = self._files.repositories / template_id
        limits = self._files.limits
        manifests, blobs = self._needed(directory, done)
        for kind, needed in (("manifests", manifests), ("blobs", blobs)):
            for name in _names(directory / kind):
                if name not in needed:
                    self._remove(directory / kind / name, limits.abandoned_hours)

    def _needed(self, directory: Path, done: Collected) -> tuple[set[str], set[str]]:
        """The manifests and blobs of images that have a tag, after tags too old have gone."""
        waiting = []
        for tag in _names(directory / "tags"):
            if self._remove(directory / "tags" / tag, self._files.limits.keep_image_hours):
                done.images += 1
            else:
                waiting.append(_content(directory / "tags" / tag))
        # What has no tag yet may get one: its parts stay as long as it does.
        waiting += [
            name
            for name in _names(directory / "manifests")
            if self._files.age_hours(directory / "manifests" / name) <= self._files.limits.abandoned_hours
        ]
        manifests: set[str] = set()
        blobs: set[str] = set()
        while waiting:
            digest = waiting.pop()
            if digest in manifests or not digest:
                continue
            manifests.add(digest)
            try:
                found = parse_manifest(self._files.blob(digest).read_bytes(), _content(directory / "manifests" / digest))
            except (InvalidError, OSError):
                continue
            blobs.update(found.blobs)
            waiting.extend(found.manifests)
        return manifests, blobs

    def _collect_blobs(self, done: Collected) -> None:
        linked = {
            name
            for template_id in _names(self._files.repositories)
            for kind in ("blobs", "manifests")
            for name in _names(self._files.repositories / template_id / kind)
        }
        for first in _names(self._files.blobs):
            for name in _names(self._files.blobs / first):
                path = self._files.blobs / first / name
                if name not in linked:
                    size_bytes = path.stat().st_size
                    if self._remove(path, self._files.limits.abandoned_hours):
                        done.blobs += 1
                        done.freed_bytes += size_bytes

    def _remove(self, path: Path, older_than_hours: float) -> bool:
        with self._files.lock:
            if self._files.age_hours(path) <= older_than_hours:
                return False
            path.unlink(missing_ok=True)
            return True


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _content(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
