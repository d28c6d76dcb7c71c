"""A stream of bytes from inside a sandbox, cut into lines of bounded length."""

from __future__ import annotations

from sandbank.domain.log_record import MAX_LINE_BYTES


class LineCutter:
    """What is longer than `max_line_bytes` is dropped up to its end and counted in `too_long`."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.too_long = 0
        self._max = max_line_bytes
        self._rest = b""
        self._is_skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without empty ones."""
        *complete, rest = data.split(b"\n")
        lines: list[bytes] = []
        for piece in complete:
            line, self._rest = self._rest + piece, b""
            if self._is_skipping:
                self._is_skipping = False
            elif len(line) > self._max:
                self.too_long += 1
            elif line.strip():
                lines.append(line)
        if not self._is_skipping:
            self._rest += rest
            if len(self._rest) > self._max:
                self._rest = b""
                self._is_skipping = True
                self.too_long += 1
        return lines
