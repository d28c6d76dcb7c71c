"""Log lines as rows of ClickHouse's `sandbox_logs` (templates contract §4)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Protocol

from sandbank.domain.log_record import LogRecord, flatten

TABLE = "sandbox_logs"
COLUMNS = ("timestamp", "team_id", "sandbox_id", "template_id", "build_id", "service", "category", "level", "message", "raw", "fields")


class Inserter(Protocol):
    """What is needed of ClickHouse."""

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None: ...


class ClickHouseLogWriter:
    """Writes batches of records. `LogShipper` gathers them: unlike a `Batcher` it counts bytes, since lines differ so much in size."""

    def __init__(self, client: Inserter) -> None:
        self._client = client

    async def ship(self, records: Sequence[LogRecord]) -> None:
        """All of them in one insert; raises as the client does."""
        await self._client.insert(TABLE, COLUMNS, [_row(record) for record in records])


def _row(record: LogRecord) -> tuple[object, ...]:
    subject = record.subject
    fields = json.dumps(flatten(record.fields), separators=(",", ":"))
    return (
        record.timestamp_ns,
        _team(subject.team_id),
        subject.sandbox_id,
        subject.template_id,
        subject.build_id,
        record.service,
        record.category,
        record.level,
        record.message,
        record.line(),
        fields,
    )


def _team(team_id: str) -> str:
    """A row that the column cannot hold would keep all later ones waiting."""
    try:
        return str(uuid.UUID(team_id))
    except ValueError:
        return str(uuid.UUID(int=0))
