"""What a reader of logs asks for and gets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sandbank.domain.log_record import LEVELS, LogSubject, flatten, level_of, strict_json

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Of lines in one answer; what is beyond is for the next question."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Lines of a sandbox, or of a build where `subject` names no sandbox, from `start_ns` up to but without `end_ns`.

    `limit` counts from the side that comes first: the newest when `newest_first`. `min_level` is one of `LEVELS`; lines without a level
    count as info. `search` is looked for in messages as it is written.
    """

    subject: LogSubject
    start_ns: int
    end_ns: int
    limit: int
    newest_first: bool = False
    min_level: str | None = None
    search: str = ""
    service: str | None = None

    @property
    def levels(self) -> tuple[str, ...] | None:
        """The levels wanted, with the empty one where lines without a level are; None for all."""
        if self.min_level is None:
            return None
        wanted = LEVELS[LEVELS.index(self.min_level) :]
        return ("", *wanted) if "info" in wanted else wanted


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line as clients see it. `line` is a JSON object with `timestamp`, `level`, `message` and `logger` in any case."""

    timestamp_ns: int
    level: str
    message: str
    line: str
    fields: Mapping[str, str]

    @classmethod
    def of_line(cls, timestamp_ns: int, line: str) -> LogEntry:
        """`line` as a store kept it; one that is no JSON object becomes the message of one."""
        try:
            values: Any = strict_json(line)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            values = {"message": line}
        level, message = level_of(values.get("level")), str(values.get("message", ""))
        values |= {"level": level, "message": message}
        values.setdefault("logger", "")
        values.setdefault("timestamp", "")
        fields = flatten({name: value for name, value in values.items() if name not in ("level", "message")})
        return cls(timestamp_ns, level, message, json.dumps(values, separators=(",", ":")), fields)


class LogStore(Protocol):
    """Log lines that nodes wrote."""

    async def find(self, query: LogQuery) -> Sequence[LogEntry]:
        """In the order asked for, at most `MAX_ANSWER_BYTES` of them. `UnavailableError` when it cannot be read."""
        ...
