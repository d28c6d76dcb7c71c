"""The question that a server asks for every request: where to?"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from sandbank.proxy.head import RequestHead
from sandbank.proxy.origin import Origin
from sandbank.proxy.page import Page
from sandbank.proxy.rewrite import Edits
from sandbank.proxy.target import Target


@dataclass(slots=True)
class Forward:
    """Send the request to `origin`; `host` replaces its Host header, `forwarded_host` becomes X-Forwarded-Host.

    `edits` change more than that. gRPC over HTTP/2 is sent without them: who returns them refuses it.
    """

    origin: Origin
    target: Target
    host: bytes | None = None
    forwarded_host: bytes | None = None
    edits: Edits | None = None


Decision = Forward | Page


class Resolver(Protocol):
    """Decides where requests go, and what to say when they cannot."""

    def resolve(self, head: RequestHead) -> Decision | Coroutine[Any, Any, Decision]:
        """Where this request goes: at once when that is known, else to be awaited. Never raises."""
        ...

    def unreachable(self, head: RequestHead, forward: Forward) -> Page:
        """The answer when the origin took no connection, or broke it before it answered."""
        ...

    def gone(self, head: RequestHead, forward: Forward) -> Page:
        """The answer when the origin was removed while it was being dialled."""
        ...

    def sweep(self, now: float) -> None:
        """Once a second, in the event loop's time."""
        ...
