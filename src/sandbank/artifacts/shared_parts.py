"""Parts that several builds need: where each belongs on a node, and getting those that a node lacks."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbank.artifacts.exchange import Exchange, Manifest
from sandbank.domain.errors import InternalError

KINDS = LAYERS, BUNDLES, HEAPS = "layers", "bundles", "heaps"
# Below the node's data directory.
_PLACES = {LAYERS: Path("artifacts", "layers"), BUNDLES: Path(BUNDLES), HEAPS: Path(HEAPS)}
_ASIDE = ".fetching-"
TRASH = ".gone-"


class SharedParts:
    """Those of one node, by names of the form `<kind>/<identity>`."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def place_of(self, name: str) -> Path:
        """Where it belongs."""
        kind, _, identity = name.partition("/")
        return self._data_dir / _PLACES[kind] / identity

    def fetch(self, exchange: Exchange, manifest: Manifest) -> None:
        """Put in place all that this node lacks, each complete or absent. Blocks; errors as `Exchange`'s."""
        for name in manifest.parts:
            kind, _, identity = name.partition("/")
            if identity and kind in _PLACES and not self.place_of(name).exists():
                self._fetch(exchange, manifest, name)

    def sweep(self) -> None:
        """Remove what a process that is no more has not finished."""
        for place in _PLACES.values():
            for prefix in (_ASIDE, TRASH):
                for left in (self._data_dir / place).glob(f"{prefix}*"):
                    shutil.rmtree(left, ignore_errors=True)

    def _fetch(self, exchange: Exchange, manifest: Manifest, name: str) -> None:
        place = self.place_of(name)
        with _aside(place.parent) as aside:
            exchange.fetch(manifest, name, aside)
            subprocess.run(["sync", "--file-system", str(aside)], check=True)
            found = aside / place.name if name.startswith(f"{HEAPS}/") else aside
            with contextlib.suppress(OSError):  # somebody else's is as good
                found.rename(place)
        if not place.exists():
            raise InternalError(f"{name} could not be put in place")


@contextmanager
def _aside(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    aside = parent / f"{_ASIDE}{uuid.uuid4().hex}"
    aside.mkdir(mode=0o755)
    try:
        yield aside
    finally:
        if aside.exists():
            shutil.rmtree(aside)
