"""Which handler answers which method and path."""

from __future__ import annotations

from sandbank.envd.transport.connection import Handler
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}


class Router:
    """Exact paths only: this agent has no path parameters."""

    def __init__(self) -> None:
        self._routes: dict[str, dict[str, Handler]] = {}

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Answer `method` on `path` with `handler`."""
        self._routes.setdefault(path, {})[method] = handler

    async def handle(self, request: Request, response: Response) -> None:
        """Answer `request`; 404 and 405 as plain text."""
        methods = self._routes.get(request.path)
        if methods is None:
            await response.send(404, _TEXT, b"404 page not found\n")
        elif (handler := methods.get(request.method)) is None:
            await response.send(405, {"Allow": ", ".join(sorted(methods))})
        else:
            await handler(request, response)
