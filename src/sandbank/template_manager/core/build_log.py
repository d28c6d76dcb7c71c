"""What a build says of itself: a list that only grows, within bounds, whatever the commands of hostile recipes print."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sandbank.domain.log_record import LEVELS

DEBUG, INFO, WARN, ERROR = LEVELS
MAX_LINE_CHARACTERS = 4096
# What one step may say; after that only its last lines are kept.
_STEP_LINES, _STEP_CHARACTERS = 10_000, 2 << 20
_LAST_LINES = 50


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line. `fields` are those of contract templates-and-data §1.7, the build's own IDs left out."""

    timestamp_ns: int
    level: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogPage:
    """Which lines are asked for. `offset` counts those of at least `level`; times are inclusive, nanoseconds."""

    offset: int = 0
    limit: int = 100
    level: str = DEBUG
    start_ns: int | None = None
    end_ns: int | None = None
    backward: bool = False


class BuildLog:
    """The log of one build. `listener` hears each line."""

    def __init__(self, listener: Callable[[LogEntry], None]) -> None:
        self._entries: list[LogEntry] = []
        self._listener = listener

    def write(self, level: str, message: str, fields: Mapping[str, str] | None = None) -> None:
        """Add a line; its time is never before the one of the last."""
        last = self._entries[-1].timestamp_ns if self._entries else 0
        entry = LogEntry(max(time.time_ns(), last + 1), level, message[:MAX_LINE_CHARACTERS], dict(fields or {}))
        self._entries.append(entry)
        self._listener(entry)

    def page(self, wanted: LogPage) -> Sequence[LogEntry]:
        """Lines in the order of their time, or the opposite; the same offset always means the same line."""
        least = LEVELS.index(wanted.level)
        if least == 0 and wanted.start_ns is None and wanted.end_ns is None and not wanted.backward:
            return self._entries[wanted.offset : wanted.offset + wanted.limit]
        found = [
            entry
            for entry in self._entries
            if LEVELS.index(entry.level) >= least
            and (wanted.start_ns is None or entry.timestamp_ns >= wanted.start_ns)
            and (wanted.end_ns is None or entry.timestamp_ns <= wanted.end_ns)
        ]
        if wanted.backward:
            found.reverse()
        return found[wanted.offset : wanted.offset + wanted.limit]


class StepOutput:
    """Turns what a command prints into lines: trimmed, empty ones left out, as many as a step may have."""

    def __init__(self, log: BuildLog, prefix: str, fields: Mapping[str, str], *, level: str = INFO) -> None:
        self._log = log
        self._prefix = prefix
        self._fields = fields
        self._level = level
        self._rest: dict[str, bytes] = {}
        self._lines = self._characters = self._dropped = 0
        self._last: deque[tuple[str, str]] = deque(maxlen=_LAST_LINES)

    @property
    def tail(self) -> list[str]:
        """The last lines, whether they are in the log or not."""
        return [text for _, text in self._last]

    def __call__(self, stream: str, data: bytes) -> None:
        """Take what came."""
        *lines, rest = (self._rest.get(stream, b"") + data).split(b"\n")
        if len(rest) > MAX_LINE_CHARACTERS:
            lines.append(rest)
            rest = b""
        self._rest[stream] = rest
        for line in lines:
            self._line(stream, line)

    def close(self) -> None:
        """Take the last lines, which may lack their end, as well."""
        for stream, rest in self._rest.items():
            self._line(stream, rest)
        self._rest.clear()
        if self._dropped > 0:
            left_out = self._dropped - min(self._dropped, len(self._last))
            self._log.write(WARN, f"{self._prefix}: {left_out} lines of output are left out", self._fields)
            for stream, text in list(self._last)[-self._dropped :]:
                self._write(stream, text)

    def _line(self, stream: str, line: bytes) -> None:
        # Of a line that was written over, as progress bars are, the last state counts.
        text = line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace").strip()
        if not text:
            return
        text = text[:MAX_LINE_CHARACTERS]
        self._last.append((stream, text))
        if self._lines >= _STEP_LINES or self._characters + len(text) > _STEP_CHARACTERS:
            self._dropped += 1
            return
        self._lines += 1
        self._characters += len(text)
        self._write(stream, text)

    def _write(self, stream: str, text: str) -> None:
        self._log.write(self._level, f"{self._prefix} [{stream}]: {text}", self._fields)
