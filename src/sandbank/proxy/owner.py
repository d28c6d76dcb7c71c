"""What a server and its clients' connections know of each other, whichever protocol a connection speaks."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Connection(Protocol):
    """A client's connection. `deadline` is in the loop's time; the server's sweep enforces it with `expire`."""

    deadline: float
    transport: asyncio.Transport

    def expire(self) -> None:
        """The deadline has passed."""
        ...

    def drain(self) -> None:
        """The server is stopping: end now if nothing is under way, else as soon as nothing is."""
        ...

    def abort(self) -> None:
        """End hard, now."""
        ...


class ClientOwner(Protocol):
    """The server that a connection belongs to."""

    stopping: bool

    def opened(self, connection: Connection) -> bool:
        """Count a new connection; False when there are too many."""
        ...

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        ...
