"""Entries of a sandbox or a build from Loki."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import structlog

from sandbank.domain.errors import SandbankError, UnavailableError
from sandbank.domain.log_query import MAX_ANSWER_BYTES, LogEntry, LogQuery
from sandbank.loki.client import AnswerTooLargeError, LokiClient
from sandbank.loki.query import logql

# An answer repeats labels and escapes quotes.
_ANSWER_BYTES = 4 * MAX_ANSWER_BYTES


class LokiReader:
    """A Loki that does not answer is logged and looks empty, as with E2B (templates contract §5.5)."""

    def __init__(self, client: LokiClient) -> None:
        self._client = client
        self._log = structlog.get_logger("sandbank.loki")

    async def find(self, query: LogQuery) -> Sequence[LogEntry]:
        """In the order asked for. Never raises domain errors."""
        limit = query.limit
        while limit > 0:
            try:
                return await self._ask(query, limit)
            except AnswerTooLargeError:
                limit //= 4
            except SandbankError as error:
                self._log.error("logs cannot be read", error=error.message)
                return []
        return []

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _ask(self, query: LogQuery, limit: int) -> Sequence[LogEntry]:
        parameters = {
            "query": logql(query),
            "start": str(query.start_ns),
            "end": str(query.end_ns),
            "limit": str(limit),
            "direction": "backward" if query.newest_first else "forward",
        }
        entries = _decode(await self._client.query_range(parameters, _ANSWER_BYTES))
        entries.sort(key=lambda entry: entry.timestamp_ns, reverse=query.newest_first)
        return _first(entries)


def _first(entries: list[LogEntry]) -> list[LogEntry]:
    size = 0
    for number, entry in enumerate(entries):
        if size > MAX_ANSWER_BYTES:
            return entries[:number]
        size += len(entry.line)
    return entries


def _decode(body: bytes) -> list[LogEntry]:
    try:
        data: Any = json.loads(body)["data"]
        if data["resultType"] != "streams":
            raise ValueError(f"a result of type {data['resultType']!r}")
        return [LogEntry.of_line(int(value[0]), value[1]) for stream in data["result"] for value in stream["values"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UnavailableError(f"Loki's answer makes no sense: {error!r}") from error
