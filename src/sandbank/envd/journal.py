"""What the agent says of itself and of what it does: JSON lines in a small buffer, which `shipping` empties.

Not `logging`: its records format local time (a file of the host's) and its tracebacks read source files, neither of which exist
inside a sandbox.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

MAX_BUFFER_BYTES = 256 * 1024  # part of what an idle sandbox may cost; the reference keeps 8 MiB
MAX_TEXT = 4096  # of a command line or a message: what is longer is cut


def _frames(trace: TracebackType | None) -> list[str]:
    frames: list[str] = []
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames[-32:]


def _now() -> str:
    """RFC 3339 with nanoseconds, in UTC; no time zone file is read."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    t = time.gmtime(seconds)
    return f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}T{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}.{nanoseconds:09d}Z"


class Journal:
    """Lines that nobody has taken yet, the newest of them when there are too many. `write` never waits and never raises."""

    def __init__(self, max_bytes: int = MAX_BUFFER_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0
        self._taken = 0
        self._wake: Callable[[], None] | None = None
        self._operations = itertools.count(1)

    def open(self, wake: Callable[[], None]) -> None:
        """Keep lines from now on, and call `wake` for each; what was written before nobody was there to read."""
        self._wake = wake
        self._operations = itertools.count(1)

    def close(self) -> None:
        """Forget everything and keep nothing more."""
        self._wake = None
        self._lines.clear()
        self._size = self._dropped = self._taken = 0

    def new_operation(self) -> str:
        """Names one request or process in all of its lines."""
        return str(next(self._operations))

    def write(self, level: str, logger: str, message: str, **fields: object) -> None:
        """One line; texts are cut at `MAX_TEXT` characters."""
        if self._wake is None:
            return
        line: dict[str, object] = {"timestamp": _now(), "level": level, "logger": logger, "message": message[:MAX_TEXT]}
        for name, value in fields.items():
            line[name] = value[:MAX_TEXT] if isinstance(value, str) else value
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        self._lines.append(data)
        self._size += len(data)
        while self._size > self._max_bytes:
            self._size -= len(self._lines.popleft())
            self._dropped += 1
            self._taken = max(0, self._taken - 1)
        self._wake()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._lines

    def peek(self, max_bytes: int) -> bytes:
        """The oldest lines, at least one; they stay until `acknowledge`. Lines lost before them are counted in a line of their own."""
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            self._lines.appendleft(self._loss(lost))
            self._size += len(self._lines[0])
        taken: list[bytes] = []
        size = 0
        for line in self._lines:
            if taken and size + len(line) > max_bytes:
                break
            taken.append(line)
            size += len(line)
        self._taken = len(taken)
        return b"".join(taken)

    def acknowledge(self) -> None:
        """What was peeked at last has arrived; lines of it that had to make room meanwhile are gone already."""
        for _ in range(self._taken):
            self._size -= len(self._lines.popleft())
        self._taken = 0

    @staticmethod
    def _loss(count: int) -> bytes:
        line = {"timestamp": _now(), "level": "warn", "logger": "journal", "message": "log lines were dropped", "dropped": count}
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"


JOURNAL = Journal()
"""This agent's; closed until the agent serves."""


def report(where: str, error: BaseException) -> None:
    """An error nobody expected, with the lines it passed through. Never raises: nobody may be reading."""
    JOURNAL.write("error", "envd", f"{type(error).__name__}: {error}", event_type="error", where=where, frames=_frames(error.__traceback__))
