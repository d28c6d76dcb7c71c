"""What a service is to whoever runs it."""

from __future__ import annotations

from typing import Protocol


class Service(Protocol):
    """Something with a beginning and an end that a supervisor runs next to others.

    The calls come in order and from one task: `start` once, `wait` at most once, `stop` once, also after a failed or cancelled `start`.
    """

    name: str

    async def start(self) -> None:
        """Return when requests are being served.

        Raises a domain error whose message is one clear line for the operator: a taken port names the port. Cancelled or failed, `stop`
        still has to be called and releases what was acquired so far.
        """
        ...

    async def wait(self) -> None:
        """Return, or raise, when a root task of the service has ended; a healthy service never returns. Cancelling it stops nothing."""
        ...

    async def stop(self) -> None:
        """Orderly: not ready, accept nothing new, finish what is in flight within bounds, cancel the rest, close. Idempotent."""
        ...
