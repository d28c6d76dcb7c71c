"""Log lines from ClickHouse's `sandbox_logs` (templates contract §4, query 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbank.analytics.clickhouse_queries import Querier
from sandbank.domain.log_query import MAX_ANSWER_BYTES, LogEntry, LogQuery
from sandbank.domain.log_record import METRICS


class ClickHouseLogStore:
    """Reads rows as they were written. A store that does not answer is an error: unlike an empty answer, it makes clients ask again."""

    def __init__(self, client: Querier) -> None:
        self._client = client

    async def find(self, query: LogQuery) -> Sequence[LogEntry]:
        """In the order asked for; raises as the client does."""
        rows = await self._client.query(_sql(query), _parameters(query))
        return [LogEntry.of_line(int(timestamp_ns), str(raw)) for timestamp_ns, raw in rows]


def _sql(query: LogQuery) -> str:
    """All that comes from outside is a parameter. The sum keeps an answer of long lines from filling anybody's memory."""
    order = "DESC" if query.newest_first else "ASC"
    conditions = ["timestamp >= fromUnixTimestamp64Nano({start:Int64})", "timestamp < fromUnixTimestamp64Nano({end:Int64})"]
    conditions += [f"{column} = {{{column}:{kind}}}" for column, kind in _COLUMNS.items() if _values(query)[column]]
    if query.subject.sandbox_id:
        conditions.append("category != {metrics:String}")
    if query.levels is not None:
        conditions.append("level IN {levels:Array(String)}")
    if query.search:
        conditions.append("position(message, {search:String}) > 0")
    return (
        "SELECT toUnixTimestamp64Nano(timestamp), raw FROM ("  # noqa: S608  # nothing in it comes from outside
        f"SELECT timestamp, raw, sum(length(raw)) OVER (ORDER BY timestamp {order} ROWS UNBOUNDED PRECEDING) AS size FROM ("
        f"SELECT timestamp, raw FROM sandbox_logs WHERE {' AND '.join(conditions)} ORDER BY timestamp {order} LIMIT {{limit:UInt32}}"
        f")) WHERE size <= {{bytes:UInt64}} + length(raw) ORDER BY timestamp {order}"
    )


_COLUMNS = {"team_id": "UUID", "sandbox_id": "String", "template_id": "String", "build_id": "String", "service": "String"}


def _values(query: LogQuery) -> dict[str, str]:
    subject = query.subject
    return {
        "team_id": subject.team_id,
        "sandbox_id": subject.sandbox_id,
        "template_id": subject.template_id,
        "build_id": subject.build_id,
        "service": query.service or "",
    }


def _parameters(query: LogQuery) -> dict[str, Any]:
    return {
        **_values(query),
        "start": query.start_ns,
        "end": query.end_ns,
        "limit": query.limit,
        "bytes": MAX_ANSWER_BYTES,
        "metrics": METRICS,
        "levels": list(query.levels or ()),
        "search": query.search,
    }
