"""The outermost layer: routing on the raw path, a bound on time, an ID for each request, no exception beyond it."""

from __future__ import annotations

import asyncio
import re
import secrets

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbank.api.endpoints.http.errors import error_response
from sandbank.domain.errors import SandbankError

EXTRA_HEADERS = "sandbank.extra_headers"
"""Where in a request's scope inner layers leave headers for the answer, whichever it will be."""

FILES = ("/volumecontent/", "/upload")
_REQUEST_SECONDS = 70.0
_FILE_SECONDS = 3600.0
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NO_STORE = (b"cache-control", b"no-store")

_log = structlog.get_logger("sandbank.api")


class RequestBoundary:
    """Wraps the application.

    Clients encode slashes within parameters (`team%2Falias`), so routes must see the path as it was sent;
    endpoints decode their parameters. Every answer carries `X-Request-Id`, the caller's own if it sent a sane one, and every line that is
    logged on the way has it as `request_id`.
    """

    def __init__(self, app: ASGIApp, request_seconds: float = _REQUEST_SECONDS) -> None:
        self._app = app
        self._request_seconds = request_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = scope.get("raw_path", scope["path"].encode()).decode("ascii", "replace").partition("?")[0]
        request_id = _request_id(scope)
        added = [(b"x-request-id", request_id)]
        if scope["path"].startswith("/secrets"):
            added.append(_NO_STORE)
        started = False

        async def complete(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *added, *scope.get(EXTRA_HEADERS, ())]
                if message["status"] >= 500:
                    _log.warning("request failed", method=scope["method"], path=scope["path"], status=message["status"])
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id.decode()):
            try:
                async with asyncio.timeout(seconds_for(scope["path"], self._request_seconds)):
                    await self._app(scope, receive, complete)
            except TimeoutError:
                _log.warning("request took too long", method=scope["method"], path=scope["path"])
                if started:
                    return  # the server cuts the connection
                # It may yet be done: sending it again by itself could do it twice.
                await error_response(504, "the request took too long", should_retry=False)(scope, receive, complete)
            except Exception as error:  # request boundary
                if started and isinstance(error.__cause__, SandbankError):
                    # Not ours to mend, nor to be said any more: the server cuts the connection.
                    _log.warning("answer broke off", method=scope["method"], path=scope["path"], reason=error.__cause__.message)
                    return
                _log.exception("request broke", method=scope["method"], path=scope["path"])
                if started:
                    raise
                await error_response(500, "internal error", "internal_server_error", should_retry=False)(scope, receive, complete)


def seconds_for(path: str, seconds: float) -> float:
    """How long a request may take: files take as long as they are large, for an hour, like the clients' own patience."""
    return _FILE_SECONDS if path.startswith(FILES) else seconds


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            given: bytes = value
            return given
    return secrets.token_hex(8).encode()
