"""What building a step has come to, by the hash of everything before it: `<root>/index/<scope>/<hash>.json` (templates contract §1.8)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbank.artifacts.atomic import write_atomically
from sandbank.domain.errors import InvalidError

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What steps hand on to the next: whose commands run, where, and with which variables."""

    user: str = "root"
    workdir: str | None = None
    env_vars: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """A state that can be built upon. `layers` are names, lowest first."""

    layers: tuple[str, ...]
    context: BuildContext


class LayerIndex:
    """The entries of one node, each scope's its own. Methods block; a cache, so what is damaged is missing."""

    def __init__(self, root: Path) -> None:
        self._top = root / "index"
        self._layers = root / "layers"

    def find(self, scope: str, digest: str) -> LayerEntry | None:
        """The entry, if all its layers are here; it counts as used now."""
        path = self._path(scope, digest)
        entry = _read(path)
        if entry is None or not all((self._layers / name).is_dir() for name in entry.layers):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return entry

    def put(self, scope: str, digest: str, entry: LayerEntry) -> None:
        """Remember it; another of that name is replaced."""
        path = self._path(scope, digest)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, json.dumps(asdict(entry)).encode(), mode=0o600)  # variables may hold credentials

    def keep(self, max_age_seconds: float) -> set[str]:
        """Forget entries that were not used for so long; the layers of the others."""
        kept: set[str] = set()
        before = time.time() - max_age_seconds
        for path in self._top.glob("*/*.json"):
            with contextlib.suppress(OSError):
                entry = _read(path)
                if entry is None or path.stat().st_mtime < before:
                    path.unlink()
                else:
                    kept.update(entry.layers)
        return kept

    def _path(self, scope: str, digest: str) -> Path:
        for name in (scope, digest):
            if _SAFE_NAME.fullmatch(name) is None:
                raise InvalidError(f"Invalid cache scope: {name!r}")
        return self._top / scope / f"{digest}.json"


def _read(path: Path) -> LayerEntry | None:
    try:
        document = json.loads(path.read_bytes())
        return LayerEntry(tuple(document["layers"]), BuildContext(**document["context"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
