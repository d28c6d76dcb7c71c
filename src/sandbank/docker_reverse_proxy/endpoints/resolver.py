"""Every request of a Docker client, in the order of contract templates-and-data §1.1.2."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs

import structlog

from sandbank.docker_reverse_proxy.core.credentials import parse_bearer
from sandbank.docker_reverse_proxy.core.grant import TokenGranter
from sandbank.docker_reverse_proxy.core.routes import Routes
from sandbank.docker_reverse_proxy.core.tokens import Tokens
from sandbank.docker_reverse_proxy.endpoints import answers
from sandbank.domain.errors import DeniedError, InvalidError, SandbankError, UnauthenticatedError
from sandbank.proxy.head import RequestHead, ResponseHead
from sandbank.proxy.http2.grpc import is_grpc
from sandbank.proxy.origin import Origin
from sandbank.proxy.page import Page
from sandbank.proxy.resolver import Decision, Forward
from sandbank.proxy.rewrite import Edits, edited_response
from sandbank.proxy.target import Target

_NO_SANDBOX = Target("", 0)

logger = structlog.get_logger(__name__)


class Upstream(Protocol):
    """The registry behind."""

    host: str
    authority: str

    async def origin(self) -> Origin:
        """How to connect. `UnavailableError` where that is not known."""
        ...

    async def authorization(self, template_id: str) -> str | None:
        """With what; likewise."""
        ...

    def forget(self, template_id: str) -> None:
        """It was not accepted."""
        ...

    def sweep(self, now: float) -> None:
        """Once a second, in the event loop's time."""
        ...


@dataclass(frozen=True, slots=True)
class Realm:
    """Where clients get tokens: below `url`, or without one below the address that they called."""

    url: str | None
    fallback_host: str

    def of(self, head: RequestHead) -> str:
        """For the client of this request."""
        scheme = "https" if head.secure else "http"
        root = self.url or f"{scheme}://{head.host.decode('latin-1') or self.fallback_host}"
        return f"{root}/v2/token"


class DockerResolver:
    """Answers what is about tokens, sends the rest to the upstream registry, with our credentials in the place of the client's."""

    def __init__(self, granter: TokenGranter, tokens: Tokens, routes: Routes, upstream: Upstream, realm: Realm) -> None:
        self._granter = granter
        self._tokens = tokens
        self._routes = routes
        self._upstream = upstream
        self._realm = realm

    def resolve(self, head: RequestHead) -> Decision | Coroutine[Any, Any, Decision]:
        """See `Resolver`."""
        path, _, query = head.target.decode("latin-1").partition("?")
        if path == "/health":
            return answers.empty(200)
        if path == "/v2/token" and head.method == b"POST":
            return answers.empty(404)  # of its two ways to get a token, Docker then takes the other
        authorization = head.fields.get(b"authorization", b"").decode("latin-1")
        if not authorization:
            return answers.log_in(self._realm.of(head))
        if path == "/v2/token":
            return self._grant(authorization, query)
        bearer = parse_bearer(authorization)
        template_id = None if bearer is None else self._tokens.find_template(bearer)
        if template_id is None:
            return answers.log_in(self._realm.of(head))
        if path == "/v2/":
            return answers.logged_in()
        target = None if is_grpc(head) else self._routes.find_target(head.method.decode(), head.target.decode("latin-1"), template_id)
        if target is None or not template_id:
            logger.info("refused", method=head.method.decode("latin-1"), path=path[:200], template_id=template_id)
            return answers.empty(403)
        return self._forward(head, target, template_id)

    async def _grant(self, authorization: str, query: str) -> Page:
        try:
            grant = await self._granter.grant(authorization, parse_qs(query, keep_blank_values=True).get("scope", ()))
        except InvalidError as error:
            logger.info("no token", reason=error.message)
            return answers.empty(400)
        except UnauthenticatedError as error:
            return answers.denied(error.message)
        except DeniedError as error:
            logger.info("no token", reason=error.message)
            return answers.empty(403)
        except SandbankError as error:
            logger.error("no token", reason=error.message)
            return answers.empty(500)
        if grant.template_id:
            logger.info("gave a token", template_id=grant.template_id)
        return answers.token(grant)

    async def _forward(self, head: RequestHead, target: str, template_id: str) -> Decision:
        try:
            origin = await self._upstream.origin()
            authorization = await self._upstream.authorization(template_id)
        except SandbankError as error:
            logger.error("the registry cannot be used", reason=error.message)
            return answers.failed(502, "the registry behind this one cannot be used at this moment")
        fields = {b"authorization": None if authorization is None else authorization.encode("latin-1")}
        line = f"{head.method.decode()} {target.partition('?')[0]}"

        def respond(answer: ResponseHead) -> ResponseHead:
            return self._respond(answer, line, template_id)

        return Forward(origin, _NO_SANDBOX, host=self._upstream.authority.encode(), edits=Edits(target.encode("latin-1"), fields, respond))

    def _respond(self, answer: ResponseHead, line: str, template_id: str) -> ResponseHead:
        changes: dict[bytes, bytes | None] = {}
        location = answer.fields.get(b"location")
        if location is not None:
            changes[b"location"] = self._routes.rewrite_location(location.decode("latin-1"), self._upstream.host, template_id).encode(
                "latin-1"
            )
        if answer.status == 401:
            # About our credentials, not the client's: its own would not help there.
            self._upstream.forget(template_id)
            changes[b"www-authenticate"] = None
            logger.error("the registry refuses our credentials", request=line)
        elif answer.status >= 500:
            logger.warning("the registry failed", request=line, status=answer.status)
        elif line.startswith("PUT ") and "/manifests/" in line:
            logger.info("pushed" if answer.status == 201 else "not pushed", request=line, status=answer.status)
        return edited_response(answer, changes) if changes else answer

    def unreachable(self, head: RequestHead, forward: Forward) -> Page:
        """See `Resolver`."""
        logger.error("the registry does not answer", registry=self._upstream.authority)
        return answers.failed(502, "the registry behind this one does not answer")

    def gone(self, head: RequestHead, forward: Forward) -> Page:
        """See `Resolver`."""
        return self.unreachable(head, forward)

    def sweep(self, now: float) -> None:
        """See `Resolver`."""
        self._upstream.sweep(now)
