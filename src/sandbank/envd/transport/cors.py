"""Cross-origin rules (data-plane contract §4.1): any origin may call, preflights need no token."""

from __future__ import annotations

from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

_METHODS = frozenset({"HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"})
_EXPOSED = "Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin, Location, Cache-Control, X-Content-Type-Options"
_MAX_AGE_SECONDS = 7200


def is_preflight(request: Request) -> bool:
    """Whether a browser asks what it may send."""
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers


async def answer_preflight(request: Request, response: Response) -> None:
    """What the browser may send; a method outside the list gets no permission."""
    headers = {"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
    method = request.headers["access-control-request-method"]
    if "origin" in request.headers and method.upper() in _METHODS:
        headers["Access-Control-Allow-Origin"] = "*"
        headers["Access-Control-Allow-Methods"] = method.upper()
        if asked := request.headers.get("access-control-request-headers"):
            headers["Access-Control-Allow-Headers"] = asked
        headers["Access-Control-Max-Age"] = str(_MAX_AGE_SECONDS)
    await response.send(204, headers)


def allow(request: Request, response: Response) -> None:
    """Let a browser's script read the answer."""
    if "origin" in request.headers:
        response.headers["Vary"] = "Origin"
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
