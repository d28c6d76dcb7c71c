"""Records that were decoded before: a list of thousands holds few that have changed since the last."""

from __future__ import annotations

from collections import OrderedDict

from sandbank.domain.sandbox import Sandbox
from sandbank.state.sandbox_codec import decode

# Of text; decoded, a record takes about ten times that. It holds 10,000 sandboxes as SDKs make
# them: a list that goes over more than fit finds none of them again.
_MOST_BYTES = 16 * 1024 * 1024


class DecodedRecords:
    """By their text, so that a record can be nothing but what its text says; the least used go beyond `most_bytes` of that."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes | str, Sandbox] = OrderedDict()

    def of(self, text: bytes | str) -> Sandbox:
        """The record; errors as `decode`."""
        found = self._kept.get(text)
        if found is not None:
            self._kept.move_to_end(text)
            return found
        found = self._kept[text] = decode(text)
        self._bytes += len(text)
        while self._bytes > self._most_bytes:
            self._bytes -= len(self._kept.popitem(last=False)[0])
        return found
