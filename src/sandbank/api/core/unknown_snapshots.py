"""Snapshots that nodes or their storage have and no database row speaks of: found, waited for, and let go of."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sandbank.api.core.ports import Clock

# A fork's save has no row while the fork lasts, one that is a template none until it is whole: minutes.
_GRACE = timedelta(hours=6)
_MOST_AT_ONCE = 500


class SnapshotPlaces(Protocol):
    """The nodes."""

    async def list_snapshots(self) -> Sequence[tuple[str, str]]:
        """What there is, as far as nodes answer: who has it, or has access to it in storage, and the build."""

    def discard(self, node_id: str, build_id: str) -> None: ...


class SavedBuilds(Protocol):
    """The rows."""

    async def known(self, build_ids: Collection[str]) -> Collection[str]:
        """Those that a template or a paused sandbox has."""


class UnknownSnapshots:
    """Copies that a node kept while it was away or got from another, saves that nobody heard the end of, uploads of nodes that are no more.

    One is removed when every look for six hours has found it unknown.
    """

    def __init__(self, places: SnapshotPlaces, builds: SavedBuilds, clock: Clock) -> None:
        self._places = places
        self._builds = builds
        self._clock = clock
        self._since: dict[str, datetime] = {}

    async def look(self) -> int:
        """How many places were told to let go of one. Raises what the database does, and then nothing is removed."""
        found = [(node_id, build_id) for node_id, build_id in await self._places.list_snapshots() if _is_ours(build_id)]
        builds = {build_id for _, build_id in found}
        known = await self._builds.known(builds)
        now = self._clock()
        self._since = {build_id: self._since.get(build_id, now) for build_id in builds.difference(known)}
        due = [(node_id, build_id) for node_id, build_id in found if now - self._since.get(build_id, now) >= _GRACE]
        for node_id, build_id in due[:_MOST_AT_ONCE]:
            self._places.discard(node_id, build_id)
        return len(due[:_MOST_AT_ONCE])


def _is_ours(build_id: str) -> bool:
    try:
        return str(uuid.UUID(build_id)) == build_id
    except ValueError:
        return False
