"""The health port: load balancers ask it whether to send traffic here (contract data-plane §0, port 3003)."""

from __future__ import annotations

from collections.abc import Callable

from sandbank.proxy.head import RequestHead
from sandbank.proxy.page import Page, plain
from sandbank.proxy.resolver import Forward

_HEALTHY = Page(200, b"text/plain; charset=utf-8", b"healthy")
_UNHEALTHY = Page(503, b"text/plain; charset=utf-8", b"unhealthy")


class AnswersItself:
    """Base of resolvers that never forward."""

    def unreachable(self, head: RequestHead, forward: Forward) -> Page:
        """Never asked: nothing is forwarded."""
        return plain(502, "Bad Gateway")

    def gone(self, head: RequestHead, forward: Forward) -> Page:
        """Never asked: nothing is forwarded."""
        return plain(502, "Bad Gateway")

    def sweep(self, now: float) -> None:
        """Nothing is kept."""


class HealthPages(AnswersItself):
    """`healthy` or `unhealthy` on every path."""

    def __init__(self, is_healthy: Callable[[], bool]) -> None:
        self._is_healthy = is_healthy

    def resolve(self, head: RequestHead) -> Page:
        """See `Resolver`."""
        return _HEALTHY if self._is_healthy() else _UNHEALTHY
