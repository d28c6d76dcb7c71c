"""What goes into a bundle: the running interpreter, its standard library without the parts no agent needs, and our own code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import sandbank

# Our packages that zygote and agent are made of.
OWN_PACKAGES = ("aiokit", "contracts", "domain", "envd", "runtime", "zygote")
LIBRARIES = ("uvloop", "httptools", "google.protobuf", "google._upb._message")
_LEFT_OUT = {
    "test", "__pycache__", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "dist-packages", "lib2to3", "pydoc_data",
    "sqlite3", "dbm", "curses", "xmlrpc", "wsgiref", "venv", "unittest", "distutils",
}  # fmt: skip
_LEFT_OUT_EXTENSIONS = ("_tkinter", "_sqlite3", "_curses", "_gdbm", "_dbm", "_test", "_xx", "xx", "nis", "readline")


def standard_library() -> Path:
    """Where the interpreter's own modules are."""
    return Path(sysconfig.get_path("stdlib"))


def standard_library_files() -> Iterator[tuple[Path, str]]:
    """Files and the path of each below the bundle's standard library."""
    top = standard_library()
    for path in _walk(top):
        relative = path.relative_to(top)
        if path.suffix == ".so" and path.name.startswith(_LEFT_OUT_EXTENSIONS):
            continue
        if relative.parts[0].startswith("config-") or path.suffix in (".a", ".exe"):
            continue
        yield path, str(relative)


def library_files() -> Iterator[tuple[Path, str]]:
    """Files of third-party packages and of ours, and the path of each below the bundle's site-packages."""
    for name in LIBRARIES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f"{name} is not installed")
        origin = Path(spec.origin)
        relative = Path(*name.split("."))
        if origin.name == "__init__.py":
            for path in _walk(origin.parent):
                if path.suffix in (".py", ".so"):
                    yield path, str(relative / path.relative_to(origin.parent))
        else:
            yield origin, str(relative.parent / origin.name)
    own = Path(sandbank.__file__).parent
    yield own / "__init__.py", "sandbank/__init__.py"
    yield own / "version.py", "sandbank/version.py"
    for package in OWN_PACKAGES:
        for path in _walk(own / package):
            if path.suffix == ".py":
                yield path, f"sandbank/{path.relative_to(own)}"


def fingerprint() -> str:
    """A digest of what a bundle made now would hold, cheap enough for every start.

    Our own files by content, everything installed by version: installed packages do not change under one.
    """
    digest = hashlib.sha256()
    digest.update(f"{sys.version} {sys.base_prefix}".encode())
    for name in ("uvloop", "httptools", "protobuf"):
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    own = Path(sandbank.__file__).parent
    for path, relative in library_files():
        if path.is_relative_to(own):
            digest.update(relative.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:24]


def _walk(top: Path) -> Iterator[Path]:
    for path in sorted(top.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file() and path.suffix != ".pyc":
            yield path
