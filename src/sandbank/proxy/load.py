"""How much a sandbox is being asked at this moment."""

from __future__ import annotations


class Load:
    """Requests in progress: from the wait for a connection to the last byte of the answer, or of the tunnel that it opened."""

    __slots__ = ("requests",)

    def __init__(self) -> None:
        self.requests = 0
