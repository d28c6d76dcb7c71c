"""Builds: what a template resolves to, and all a node must know to start a sandbox from it.

`<root>/layers/<layer id>/` holds root-owned, unshifted files; `<root>/builds/<build id>.json` names the layers of one build. A build
whose JSON exists is complete: its layers are put in place before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbank.artifacts.atomic import write_atomically
from sandbank.artifacts.layer_index import BuildContext
from sandbank.domain.errors import InternalError, InvalidError

FORMAT_VERSION = 1
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class StartCommand:
    """What runs in every sandbox of a template from the beginning, and how to tell that it is ready.

    The snapshot `memory_name(build_id)`, where a node has one that it can use, holds it running.
    """

    command: str
    ready: str
    context: BuildContext = field(default_factory=BuildContext)


@dataclass(frozen=True)
class Build:
    """One finished build. `layers` are absolute, lowest first; `size_mib` is what they occupy together.

    `context` is where templates that start from this one go on.
    """

    build_id: str
    template_id: str
    layers: tuple[Path, ...]
    default_user: str = "user"
    default_workdir: str | None = None
    env_vars: dict[str, str] = field(default_factory=dict)
    envd_version: str = ""
    size_mib: int = 0
    start: StartCommand | None = None
    context: BuildContext = field(default_factory=BuildContext)


def memory_name(build_id: str) -> str:
    """The snapshot that has a build's start command running."""
    return f"{build_id}-start"


def check_name(name: str) -> str:
    """`name`, once it is known to be a single harmless path component; `InvalidError` otherwise."""
    if _SAFE_NAME.fullmatch(name) is None:
        raise InvalidError(f"Invalid build ID: {name!r}")
    return name


class BuildStore:
    """The builds under one artefact directory, `<data_dir>/artifacts`.

    Read on the create path, so what was found is kept: a published build is only ever replaced as a whole, and noticed by its
    file's identity.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: dict[str, tuple[tuple[int, int], Build]] = {}

    @property
    def layers_dir(self) -> Path:
        """Where layers live; a build may only refer to directories directly inside it."""
        return self._root / "layers"

    @property
    def builds_dir(self) -> Path:
        """Where the builds' metadata live."""
        return self._root / "builds"

    def find(self, build_id: str) -> Build | None:
        """The build, or `None` when this node does not have it (an unfit ID included). Tens of microseconds; one `stat` when known.

        Raises `InternalError` when its metadata or one of its layers is damaged or gone.
        """
        if _SAFE_NAME.fullmatch(build_id) is None:
            return None
        path = self.builds_dir / f"{build_id}.json"
        try:
            status = path.stat()
        except FileNotFoundError:
            self._found.pop(build_id, None)
            return None
        identity = (status.st_ino, status.st_mtime_ns)
        known = self._found.get(build_id)
        if known is not None and known[0] == identity:
            return known[1]
        build = self._read(path, build_id)
        self._found[build_id] = (identity, build)
        return build

    def publish(self, build: Build) -> None:
        """Make `build` findable, replacing an earlier one of the same ID. Complete or absent; blocks for a few fsyncs.

        Its layers must be in place; `InvalidError` when one is not a directory directly under `layers_dir`.
        """
        check_name(build.build_id)
        for layer in build.layers:
            if layer.parent != self.layers_dir or not layer.is_dir():
                raise InvalidError(f"Not a layer of this store: {layer}")
        self.builds_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = json.dumps(to_json(build), indent=2, sort_keys=True).encode() + b"\n"
        write_atomically(self.builds_dir / f"{build.build_id}.json", content)

    def remove(self, build_id: str) -> None:
        """Forget a build; its layers go when nothing else needs them. Idempotent."""
        (self.builds_dir / f"{check_name(build_id)}.json").unlink(missing_ok=True)

    def list_ids(self) -> list[str]:
        """The IDs of all builds on this node, sorted."""
        if not self.builds_dir.is_dir():
            return []
        return sorted(path.stem for path in self.builds_dir.glob("*.json") if _SAFE_NAME.fullmatch(path.stem))

    def _read(self, path: Path, build_id: str) -> Build:
        try:
            build = from_json(json.loads(path.read_bytes()), self.layers_dir)
        except (OSError, ValueError, KeyError, TypeError, InvalidError) as error:
            raise InternalError(f"The metadata of build {build_id} are damaged: {error}") from error
        missing = [layer.name for layer in build.layers if not layer.is_dir()]
        if missing or not build.layers:
            raise InternalError(f"Build {build_id} lacks layers: {', '.join(missing) or 'all'}")
        return build


def to_json(build: Build) -> dict[str, Any]:
    """A build's metadata, which mean the same on every node."""
    return {
        "format_version": FORMAT_VERSION,
        "build_id": build.build_id,
        "template_id": build.template_id,
        "layers": [layer.name for layer in build.layers],
        "default_user": build.default_user,
        "default_workdir": build.default_workdir,
        "env_vars": build.env_vars,
        "envd_version": build.envd_version,
        "size_mib": build.size_mib,
        "start": None if build.start is None else asdict(build.start),
        "context": asdict(build.context),
    }


def _start_from(document: Mapping[str, Any] | None) -> StartCommand | None:
    if document is None:
        return None
    return StartCommand(document["command"], document["ready"], BuildContext(**document["context"]))


def from_json(document: Mapping[str, Any], layers_dir: Path) -> Build:
    """The opposite. `KeyError`, `TypeError`, `ValueError` or `InvalidError` for what `to_json` did not write."""
    if document["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {document['format_version']}")
    return Build(
        build_id=document["build_id"],
        template_id=document["template_id"],
        layers=tuple(layers_dir / check_name(name) for name in document["layers"]),
        default_user=document["default_user"],
        default_workdir=document["default_workdir"],
        env_vars=dict(document["env_vars"]),
        envd_version=document["envd_version"],
        size_mib=document["size_mib"],
        start=_start_from(document.get("start")),
        context=BuildContext(**document.get("context", {})),
    )
