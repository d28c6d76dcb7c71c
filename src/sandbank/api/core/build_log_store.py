"""Logs of builds in the store that sandboxes' logs are in (templates contract §1.6, §5.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sandbank.api.core.builders import BuildLine, LinePage
from sandbank.api.core.template_build import Build
from sandbank.domain.log_query import LogEntry, LogQuery, LogStore
from sandbank.domain.log_record import TEMPLATE_MANAGER, LogSubject

_PIECE = 1000
# A build is over within that, its log not much later.
_SPAN = timedelta(hours=3)


class BuildLogStore:
    """Reads what builds have said; without a `store` there is nothing."""

    def __init__(self, store: LogStore | None) -> None:
        self._store = store

    async def read(self, build: Build, page: LinePage) -> Sequence[BuildLine]:
        """One page. `UnavailableError` when the store cannot be read."""
        if self._store is None:
            return []
        begun_ns = int((build.created_at - timedelta(minutes=1)).timestamp()) * 1_000_000_000
        ended_ns = int((build.started_at + _SPAN).timestamp()) * 1_000_000_000
        query = LogQuery(
            LogSubject(build.team_id, template_id=build.template_id, build_id=build.build_id),
            start_ns=begun_ns if page.start_ns is None else page.start_ns,
            end_ns=ended_ns if page.end_ns is None else page.end_ns,
            limit=page.limit,
            newest_first=page.newest_first,
            min_level=page.min_level,
            service=TEMPLATE_MANAGER,
        )
        entries = await _skip(self._store, query, page.offset)
        return [BuildLine(entry.timestamp_ns, entry.level, entry.message, entry.fields) for entry in entries]


async def _skip(store: LogStore, query: LogQuery, offset: int) -> Sequence[LogEntry]:
    """What comes behind the first `offset`, which stores do not count: piece by piece, since an answer has a largest size."""
    start_ns, seen_at_start = query.start_ns, 0
    while True:
        wanted = seen_at_start + min(offset + query.limit, _PIECE)
        found = await store.find(replace(query, start_ns=start_ns, limit=wanted))
        new = found[seen_at_start:]
        if len(new) > offset or not new:
            return new[offset : offset + query.limit]
        offset -= len(new)
        last = new[-1].timestamp_ns
        seen_at_start = sum(entry.timestamp_ns == last for entry in (found if last == start_ns else new))
        start_ns = last
