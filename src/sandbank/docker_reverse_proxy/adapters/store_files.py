"""Where the image store keeps what, and how much of it there may be.

    blobs/<2 digits>/<digest>                    content: layers, configurations, manifests
    repositories/<templateID>/blobs/<digest>     an empty file: this repository has that blob
    repositories/<templateID>/manifests/<digest> its media type
    repositories/<templateID>/tags/<tag>         a manifest's digest
    uploads/<ID>/                                `data`, and `repository`: whose it is

A blob is another repository's secret to one that does not have it. Whatever is asked for is touched: what has just been seen is not
collected under the eyes of who counts on it.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbank.artifacts.atomic import sync_directory
from sandbank.domain.errors import ExhaustedError

MIB = 2**20


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Sizes in MiB, times in hours."""

    max_layer_mib: int = 20 * 1024
    max_template_mib: int = 40 * 1024
    min_free_mib: int = 2048
    max_uploads: int = 64  # of one template at a time; Docker sends five layers at once
    abandoned_hours: float = 24.0
    keep_image_hours: float = 7 * 24.0


class StoreFiles:
    """One directory, for root alone. `lock` makes looking and linking one step for whoever removes."""

    def __init__(self, root: Path, limits: StoreLimits, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits
        self.clock = clock
        self.lock = threading.Lock()
        self.blobs = root / "blobs"
        self.repositories = root / "repositories"
        self.uploads = root / "uploads"
        self._root = root

    def prepare(self) -> None:
        """Make the directories."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for directory in (self.blobs, self.repositories, self.uploads):
            directory.mkdir(exist_ok=True)

    def blob(self, digest: str) -> Path:
        """The content with these digits."""
        return self.blobs / digest[:2] / digest

    def blob_link(self, repository: str, digest: str) -> Path:
        """Says that the repository has that blob."""
        return self.repositories / repository / "blobs" / digest

    def manifest_link(self, repository: str, digest: str) -> Path:
        """Says that the repository has that manifest, and of which type it is."""
        return self.repositories / repository / "manifests" / digest

    def tag(self, repository: str, tag: str) -> Path:
        """Says which manifest it is."""
        return self.repositories / repository / "tags" / tag

    def make_durable_directory(self, directory: Path) -> None:
        """Make it and its parents below the root, so that they survive a power cut."""
        if not directory.is_dir():
            self.make_durable_directory(directory.parent)
            directory.mkdir(exist_ok=True)
            sync_directory(directory.parent)

    def touch(self, path: Path) -> bool:
        """Note that it is wanted; False if it is not there."""
        now = self.clock()
        try:
            os.utime(path, (now, now))
        except FileNotFoundError:
            return False
        return True

    def age_hours(self, path: Path) -> float:
        """Since it was last touched; negative infinity for what is gone, so that nobody takes it for old."""
        try:
            return (self.clock() - path.stat().st_mtime) / 3600
        except FileNotFoundError:
            return float("-inf")

    def used_bytes(self, repository: str) -> int:
        """What the repository's blobs take, shared ones counted in full."""
        total = 0
        links = self.repositories / repository / "blobs"
        for name in os.listdir(links) if links.is_dir() else ():
            try:
                total += self.blob(name).stat().st_size
            except FileNotFoundError:
                continue
        return total

    def require_room(self, more_bytes: int) -> None:
        """`ExhaustedError` if the disk would have less left than it shall."""
        if shutil.disk_usage(self._root).free - more_bytes < self.limits.min_free_mib * MIB:
            raise ExhaustedError("the disk for images is full", error_code="DENIED")

    def allowance_bytes(self, repository: str) -> int:
        """How much more the repository may have."""
        allowed = self.limits.max_template_mib * MIB - self.used_bytes(repository)
        if allowed <= 0:
            raise too_large(self.limits)
        return allowed


def too_large(limits: StoreLimits) -> ExhaustedError:
    """More than a template may have."""
    return ExhaustedError(
        f"a layer may have {limits.max_layer_mib} MiB, all images of a template {limits.max_template_mib} MiB", error_code="SIZE_INVALID"
    )
