"""Which operation answers a path and a method."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from sandbank.client_proxy.endpoints.edge_message import Answer, Request

Operation = Callable[[Request, Mapping[str, str]], Awaitable[Answer]]

_PARAMETER = "{"


@dataclass(frozen=True, slots=True)
class Route:
    """A path, whose segments in braces are parameters, with the operation of each method. An `open` one asks for no key."""

    path: str
    operations: Mapping[str, Operation]
    open: bool = False

    @property
    def allow(self) -> tuple[str, ...]:
        """The methods that are answered."""
        return (*self.operations, "HEAD") if "GET" in self.operations else tuple(self.operations)

    def operation(self, method: str) -> Operation | None:
        """HEAD is a GET whose body stays away."""
        return self.operations.get("GET" if method == "HEAD" else method)

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters, or None where the path is another one."""
        pattern, segments = self.path.split("/"), path.split("/")
        if len(pattern) != len(segments):
            return None
        parameters = {}
        for expected, segment in zip(pattern, segments, strict=True):
            if expected.startswith(_PARAMETER) and segment:
                parameters[expected[1:-1]] = unquote(segment)
            elif expected != segment:
                return None
        return parameters


def find_route(routes: tuple[Route, ...], path: str) -> tuple[Route, dict[str, str]] | None:
    """The first that matches: those without parameters come first in `routes`."""
    for route in routes:
        parameters = route.match(path)
        if parameters is not None:
            return route, parameters
    return None
