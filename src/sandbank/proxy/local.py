"""Requests to sandboxes of this node, in the order of contract data-plane §7.6."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from sandbank.proxy import page
from sandbank.proxy.control_routes import AGENT_PORT, clean_path, is_control_route
from sandbank.proxy.head import RequestHead
from sandbank.proxy.page import Page
from sandbank.proxy.resolver import Decision, Forward
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.target import Target, TargetError, parse_target

Find = Callable[[RequestHead, Target], Awaitable[page.Problem | None]]


def target_of(head: RequestHead) -> Target:
    """The sandbox and port that a request is for; `TargetError` when it names none."""
    fields = head.fields
    host, sandbox_id, port = head.host, fields.get(b"e2b-sandbox-id", b""), fields.get(b"e2b-sandbox-port", b"")
    if len(host) + len(sandbox_id) + len(port) > _LONGEST_REMEMBERED:
        return _parse_target(host, sandbox_id, port)
    return _remembered_target(host, sandbox_id, port)


def _parse_target(host: bytes, sandbox_id: bytes, port: bytes) -> Target:
    return parse_target(host.decode("latin-1"), sandbox_id.decode("latin-1"), port.decode("latin-1"))


# Before the decoding, not only behind it: heads that repeat themselves share their values, which remember their hashes.
_remembered_target = functools.lru_cache(maxsize=8192)(_parse_target)
_LONGEST_REMEMBERED = 300


def direct_host(target: Target) -> bytes | None:
    """The host that names this sandbox itself, for requests that came to the shared one (contract data-plane §7.2)."""
    if target.shared_domain is None:
        return None
    return f"{target.port}-{target.sandbox_id}.{target.shared_domain}".encode("latin-1")


class LocalResolver:
    """Answers from a `RouteTable`. As the first hop it also does that hop's part, naming the sandbox in the Host of shared hosts.

    `find` is asked about sandboxes that the table does not have: it answers nothing once it has them, and else what is the matter.
    """

    def __init__(self, routes: RouteTable, *, first_hop: bool, find: Find | None = None) -> None:
        self._routes = routes
        self._first_hop = first_hop
        self._find = find

    def resolve(self, head: RequestHead) -> Decision | Coroutine[Any, Any, Decision]:
        """See `Resolver`."""
        decision = self._resolve(head)
        if not isinstance(decision, Target):
            return decision
        return self._not_found(head, decision) if self._find is None else self._resolve_found(self._find, head, decision)

    async def _resolve_found(self, find: Find, head: RequestHead, target: Target) -> Decision:
        problem = await find(head, target)
        if problem is not None:
            return problem.page(head.fields)
        decision = self._resolve(head)
        return self._not_found(head, decision) if isinstance(decision, Target) else decision

    @staticmethod
    def _not_found(head: RequestHead, target: Target) -> Page:
        return page.sandbox_not_found(target.sandbox_id).page(head.fields)

    def _resolve(self, head: RequestHead) -> Decision | Target:
        """The target alone where the table does not have it."""
        try:
            target = target_of(head)
        except TargetError as error:
            return page.plain(400, str(error))
        is_agent = target.port == AGENT_PORT
        if is_agent and is_control_route(head.target):
            return page.control_route(clean_path(head.target)).page(head.fields)
        found = self._routes.find_origin(target.sandbox_id, target.port)
        if found is None:
            return target
        route, origin = found
        forward = Forward(origin, target)
        if self._first_hop and target.shared_domain is not None:
            forward.host = direct_host(target)
        if not is_agent:
            if route.traffic_token is not None and (refusal := self._check_token(route.traffic_token, target, head)) is not None:
                return refusal
            if route.mask_request_host:
                forward.forwarded_host = forward.host or head.host
                forward.host = route.mask_request_host.replace("${PORT}", str(target.port)).encode()
        if 0 <= self._routes.max_connections <= origin.load.requests:
            return page.too_many_connections(target.sandbox_id, self._routes.max_connections).page(head.fields)
        return forward

    @staticmethod
    def _check_token(expected: str, target: Target, head: RequestHead) -> Page | None:
        given = head.fields.get(b"e2b-traffic-access-token")
        if not given:
            return page.traffic_token_missing(target.sandbox_id).page(head.fields)
        if not hmac.compare_digest(given, expected.encode()):
            return page.traffic_token_invalid(target.sandbox_id).page(head.fields)
        return None

    def unreachable(self, head: RequestHead, forward: Forward) -> Page:
        """See `Resolver`."""
        return page.port_closed(forward.target.sandbox_id, forward.target.port).page(head.fields)

    def gone(self, head: RequestHead, forward: Forward) -> Page:
        """See `Resolver`."""
        return page.sandbox_not_found(forward.target.sandbox_id).page(head.fields)

    def sweep(self, now: float) -> None:
        """See `Resolver`."""
        self._routes.sweep(now)
