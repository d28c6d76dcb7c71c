"""`api.<domain>` on the port of sandbox traffic: clients that know a domain and nothing else look for the REST API there.

Contract sdk-latest §2.1. Everything else goes to the resolver behind.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from sandbank.proxy.address import connect_to
from sandbank.proxy.head import RequestHead
from sandbank.proxy.origin import Origin, OriginPolicy
from sandbank.proxy.page import Page
from sandbank.proxy.resolver import Decision, Forward, Resolver
from sandbank.proxy.target import Target, strip_port
from sandbank.servicekit.public_domain import PublicDomain

# The API keeps idle connections for 620 seconds. Two attempts more: it may be starting.
_API_POLICY = OriginPolicy(
    retry_pauses_seconds=(0.1, 0.3),
    hot_requests_per_second=0,
    idle_seconds=600.0,
    reuse_for_any_method=True,
    max_idle=256,
    max_requests=1_000_000_000,
)
_API = Target("", 0)  # no sandbox


class Gateway:
    """Sends requests for `api.<domain>` to the API at `host`:`port`, and all others through `behind`."""

    def __init__(self, behind: Resolver, domain: PublicDomain, host: str, port: int) -> None:
        self._behind = behind
        self._api_name = domain.api_name
        self._origin = Origin(lambda: connect_to(host, port), _API_POLICY)

    def resolve(self, head: RequestHead) -> Decision | Coroutine[Any, Any, Decision]:
        """See `Resolver`."""
        # The common case first: sandboxes' hosts begin with a number.
        if head.host[:4].lower() == b"api." and strip_port(head.host.decode("latin-1")).lower().rstrip(".") == self._api_name:
            return Forward(self._origin, _API)
        return self._behind.resolve(head)

    def unreachable(self, head: RequestHead, forward: Forward) -> Page:
        """See `Resolver`. The API's clients read JSON with `code` and `message` (contract sdk-latest §1.3)."""
        if forward.target is not _API:
            return self._behind.unreachable(head, forward)
        return _UNREACHABLE

    def gone(self, head: RequestHead, forward: Forward) -> Page:
        """See `Resolver`."""
        return self.unreachable(head, forward) if forward.target is _API else self._behind.gone(head, forward)

    def sweep(self, now: float) -> None:
        """See `Resolver`."""
        self._origin.sweep(now)
        self._behind.sweep(now)


# Not 502: Python's client would send the request again by itself (contract sdk-latest §1.2), and it may have been carried out.
_UNREACHABLE = Page(500, b"application/json; charset=utf-8", b'{"code":500,"message":"The API does not answer"}')
