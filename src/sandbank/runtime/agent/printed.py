"""What a short command prints, for a node that has to read it."""

from __future__ import annotations

from sandbank.domain.errors import InvalidError
from sandbank.runtime.agent.command import STDOUT

_MOST_BYTES = 1 << 20


class Printed:
    """Collects a command's standard output; `InvalidError` when it is more than was ever asked for: whoever prints may be hostile."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __call__(self, stream: str, data: bytes) -> None:
        """Take what came."""
        if stream == STDOUT:
            self._data += data
        if len(self._data) > _MOST_BYTES:
            raise InvalidError("a command printed far more than what it was asked for")

    @property
    def text(self) -> str:
        """All of it."""
        return self._data.decode(errors="replace")
