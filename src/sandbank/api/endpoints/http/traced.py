"""Requests as spans: the API's end of a trace."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbank.telemetry.metrics import Meter
from sandbank.telemetry.tracing import Tracer

_CARRIERS = frozenset((b"traceparent", b"tracestate"))


class Traced:
    """Wraps the application; without a collector requests pass untouched.

    The trace's ID goes back as `X-E2B-Trace-ID`, which clients log with an error (sdk-latest contract §1.1).
    """

    def __init__(self, app: ASGIApp, tracer: Tracer, meter: Meter) -> None:
        self._app = app
        self._tracer = tracer
        self._record = meter.histogram("http.server.request.duration", "ms", "Time to answer a request.")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIERS}
        method, status, begun = scope["method"], 500, time.monotonic()
        with self._tracer.serving(method, carrier) as span:
            if span.trace_id is None:
                await self._app(scope, receive, send)
                return
            trace_id = span.trace_id.encode()

            async def note(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    message["headers"] = [*message.get("headers", ()), (b"x-e2b-trace-id", trace_id)]
                    for name, value in message["headers"]:
                        if name.lower() == b"x-request-id":
                            span.set("request.id", value.decode("latin-1"))
                await send(message)

            try:
                await self._app(scope, receive, note)
            finally:
                # The pattern, not the path: it is the same for all sandboxes, and set by whoever found the route.
                route = getattr(scope.get("route"), "path", "unknown")
                span.name(f"{method} {route}")
                for key, value in (("http.request.method", method), ("http.route", route), ("http.response.status_code", status)):
                    span.set(key, value)
                if status >= 500:
                    span.fail(f"status {status}")
                self._record((time.monotonic() - begun) * 1000, {"http.route": route, "http.response.status_code": status})
