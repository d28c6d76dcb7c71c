"""Orders of builds that are not done, a file each: what was accepted is built also if the node dies meanwhile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import structlog

from sandbank.artifacts.atomic import write_atomically
from sandbank.artifacts.builds import check_name
from sandbank.template_manager.core.order import BuildOrder, from_json, to_json

_log = structlog.get_logger("sandbank.template_manager")


class OrderDirectory:
    """Implements `sandbank.template_manager.core.build_queue.Orders` below `<root>/orders`. They may hold credentials of registries."""

    def __init__(self, root: Path) -> None:
        self._top = root / "orders"

    def save(self, order: BuildOrder) -> None:
        """On disk when it returns."""
        self._top.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._path(order.build_id), json.dumps(to_json(order)).encode(), mode=0o600)

    def remove(self, build_id: str) -> None:
        """Idempotent."""
        self._path(build_id).unlink(missing_ok=True)

    def load_all(self) -> Sequence[BuildOrder]:
        """In the order in which they came; one that cannot be read is left where it is, and said."""
        found = []
        paths = sorted(self._top.glob("[!.]*.json"), key=lambda path: path.stat().st_mtime)
        for path in paths:
            try:
                found.append(from_json(json.loads(path.read_bytes())))
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.error("an order cannot be read", path=str(path), error=repr(error))
        return found

    def _path(self, build_id: str) -> Path:
        return self._top / f"{check_name(build_id)}.json"
