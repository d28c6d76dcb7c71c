"""The outermost layer: routing on the raw path, a bound on time, no exception beyond it."""

from __future__ import annotations

import asyncio

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbank.api.endpoints.http.errors import error_response

_REQUEST_SECONDS = 70.0

_log = structlog.get_logger("sandbank.api")


class RequestBoundary:
    """Wraps the application.

    Clients encode slashes within parameters (`team%2Falias`), so routes must see the path as it was sent;
    endpoints decode their parameters.
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
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            async with asyncio.timeout(self._request_seconds):
                await self._app(scope, receive, note_start)
        except TimeoutError:
            _log.warning("request took too long", method=scope["method"], path=scope["path"])
            if started:
                raise
            # It may yet be done: sending it again by itself could do it twice.
            await error_response(504, "the request took too long", should_retry=False)(scope, receive, send)
        except Exception:  # request boundary
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if started:
                raise
            await error_response(500, "internal error", "internal_server_error", should_retry=False)(scope, receive, send)
