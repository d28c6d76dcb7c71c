"""Parts in storage that no build needs any more, found and removed without any lock between nodes."""

from __future__ import annotations

import json

from sandbank.artifacts.exchange import Exchange
from sandbank.artifacts.remote import Remote
from sandbank.artifacts.shared_parts import KINDS
from sandbank.domain.errors import InternalError


class UnreferencedParts:
    """What storage has of layers, bundles and heaps for nobody, as one node sees it.

    A look takes away the pointers to archives that no manifest names, so that nobody begins to refer to them, and the next look, hours
    later, those archives that still none does. Whoever had found a pointer before has written its manifest by then, and checks after that.
    """

    def __init__(self, exchange: Exchange, remote: Remote) -> None:
        self._exchange = exchange
        self._remote = remote
        self._doomed: set[str] = set()

    def sweep(self) -> int:
        """How many archives were removed. Blocks; as soon as anything cannot be read it raises, and nothing is removed.

        `UnavailableError`; `InternalError` for a manifest or a pointer that is damaged or of a later format.
        """
        keys = [key for kind in KINDS for key in self._remote.list(kind)]
        wanted = self._wanted()
        pointers = {key: archive for key in keys if key.endswith(".json") and (archive := self._target(key)) is not None}
        self._remote.delete(pointer for pointer, archive in pointers.items() if archive not in wanted)
        unwanted = {key for key in keys if not key.endswith(".json")} - wanted
        gone = unwanted & self._doomed
        self._remote.delete(gone)
        self._doomed = unwanted - gone
        return len(gone)

    def _wanted(self) -> set[str]:
        found = [self._exchange.find(build_id) for build_id in self._exchange.list()]
        return {archive.key for manifest in found if manifest is not None for archive in manifest.parts.values()}

    def _target(self, pointer: str) -> str | None:
        text = self._remote.get(pointer)
        if text is None:
            return None
        try:
            return str(json.loads(text)["key"])
        except (ValueError, KeyError, TypeError) as error:
            raise InternalError(f"{pointer} in storage is damaged: {error}") from error
