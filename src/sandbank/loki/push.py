"""Records as a push request: one stream per set of labels, each in the order of time (templates contract §5.3)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sandbank.domain.log_record import LogRecord
from sandbank.loki.client import LokiClient

SOURCE = "logs-collector"
UNKNOWN = "unknown"
"""For an ID that does not apply (templates contract §5.2)."""


def labels_of(record: LogRecord) -> dict[str, str]:
    """The seven labels that E2B's tools select by."""
    subject = record.subject
    return {
        "source": SOURCE,
        "service": record.service,
        "teamID": subject.team_id or UNKNOWN,
        "envID": subject.template_id or UNKNOWN,
        "buildID": subject.build_id or UNKNOWN,
        "sandboxID": subject.sandbox_id or UNKNOWN,
        "category": record.category,
    }


def encode(records: Sequence[LogRecord]) -> bytes:
    """The body of one push."""
    streams: dict[tuple[tuple[str, str], ...], list[tuple[int, str]]] = {}
    for record in records:
        streams.setdefault(tuple(labels_of(record).items()), []).append((record.timestamp_ns, record.line()))
    document = {
        "streams": [
            {
                "stream": dict(labels),
                "values": [[str(timestamp_ns), line] for timestamp_ns, line in sorted(values, key=lambda value: value[0])],
            }
            for labels, values in streams.items()
        ]
    }
    return json.dumps(document, separators=(",", ":")).encode()


class LokiWriter:
    """Writes batches of records."""

    def __init__(self, client: LokiClient) -> None:
        self._client = client

    async def ship(self, records: Sequence[LogRecord]) -> None:
        """All of them in one request; raises as `LokiClient.push` does."""
        await self._client.push(encode(records))
