"""How much of clients' messages is held in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sandbank.domain.errors import ExhaustedError

MAX_RECEIVED_BYTES = 64 * 1024 * 1024  # the largest single message fits, if it is alone
SMALL_BYTES = 64 * 1024  # always taken: large messages that wait for a process must not keep a signal from reaching it


class Share:
    """What one request holds."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._held = 0

    def hold(self, size: int) -> None:
        """Hold `size` bytes instead of what was held; `ExhaustedError` when others hold too much."""
        counted = size if size > SMALL_BYTES else 0
        total = self._account.held_bytes - self._held + counted
        if counted > self._held and total > self._account.limit_bytes:
            raise ExhaustedError("too much input is waiting to be processed: try again later")
        self._account.held_bytes, self._held = total, counted


class Account:
    """The sum over all requests; every share is given back by leaving its context."""

    def __init__(self, limit_bytes: int = MAX_RECEIVED_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A share of one request, empty at first."""
        share = Share(self)
        try:
            yield share
        finally:
            share.hold(0)


RECEIVED = Account()  # of this process, which is one sandbox's agent
