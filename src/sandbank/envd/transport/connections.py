"""All open connections, and which of them wait for a request."""

from __future__ import annotations

from typing import Protocol

MAX_CONNECTIONS = 8192  # some kilobytes each while idle; whoever holds them open in vain must not keep others out


class Closable(Protocol):
    """What is needed of a connection."""

    def abort(self) -> None: ...


class Connections:
    """Above the limit the one that has waited longest makes room; incomplete heads count as waiting."""

    def __init__(self, limit: int = MAX_CONNECTIONS) -> None:
        self._limit = limit
        self._open: set[Closable] = set()
        self._idle: dict[Closable, None] = {}

    def add(self, connection: Closable) -> None:
        """A new one, idle so far."""
        if len(self._open) >= self._limit:
            superfluous = next(iter(self._idle), connection)
            superfluous.abort()
            if superfluous is connection:
                return
            self.discard(superfluous)
        self._open.add(connection)
        self._idle[connection] = None

    def set_idle(self, connection: Closable, is_idle: bool) -> None:
        """Whether it waits for a request from now on."""
        if is_idle and connection in self._open:
            self._idle[connection] = None
        else:
            self._idle.pop(connection, None)

    def discard(self, connection: Closable) -> None:
        """It is closed."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def abort(self) -> None:
        """Cut them all."""
        for connection in list(self._open):
            connection.abort()
