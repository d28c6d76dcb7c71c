"""The releases under test, pinned with their dependencies, each installed apart from all others."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Release:
    """One release of one client: a directory here has the name of each client."""

    client: str
    version: str

    @property
    def in_python(self) -> bool:
        """Whether it is a Python package; all others are Node's."""
        return self.client.startswith("python")

    @property
    def lock(self) -> Path:
        """What it consists of, with hashes."""
        return HERE / self.client / (f"{self.version}.txt" if self.in_python else f"{self.version}/package-lock.json")

    @property
    def directory(self) -> Path:
        """Where it is installed: outside the checkout, so that it is installed once for all of them."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        digest = hashlib.sha256(self.lock.read_bytes()).hexdigest()[:12]
        return cache / "sandbank-tests" / f"{self.client}-{self.version}-{digest}"

    def __str__(self) -> str:
        return f"{self.client} {self.version}"


def _newest_first(version: str) -> list[int]:
    return [-int(part) for part in version.split(".")]


def _found(client: str) -> list[Release]:
    entries = (HERE / client).iterdir()
    versions = (entry.stem if entry.is_file() else entry.name for entry in entries)
    return [Release(client, version) for version in sorted(versions, key=_newest_first)]


CLIENTS = ("python", "javascript", "python-code-interpreter", "javascript-code-interpreter", "cli")
RELEASES = [release for client in CLIENTS for release in _found(client)]


def install(release: Release) -> None:
    """Install a release unless it is there; complete or absent, also when several runs want it at once."""
    with _locked(release.directory.parent):
        if release.directory.exists():
            return
        staging = release.directory.with_suffix(".new")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        if release.in_python:
            uv = str(Path(sys.executable).with_name("uv"))
            command = [uv, "pip", "install", "--quiet", "--require-hashes", "--target", str(staging), "--requirement", str(release.lock)]
        else:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(release.lock.with_name(name), staging)
            command = ["npm", "ci", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=staging, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{release} could not be installed:\n{done.stdout}\n{done.stderr}")
        staging.rename(release.directory)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
