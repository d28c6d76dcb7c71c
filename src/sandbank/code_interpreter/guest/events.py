"""The objects of an execution's stream (contract templates-and-data §10.4), and how kernels' messages become them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Event = dict[str, Any]

END: Event = {"type": "end_of_execution"}
KEEPALIVE: Event = {"type": "keepalive"}

_FIELDS = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
    "text/latex": "latex",
    "application/json": "json",
    "application/javascript": "javascript",
    "e2b/data": "data",
    "e2b/chart": "chart",
}


def timestamp() -> str:
    """Now, as kernels write it in their headers."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def output(stream: str, text: str, at: str | None = None) -> Event:
    """Something printed; `stream` is stdout or stderr."""
    return {"type": stream, "text": text, "timestamp": at or timestamp()}


def error(name: str, value: str, traceback: str = "") -> Event:
    """The one error of an execution."""
    return {"type": "error", "name": name, "value": value, "traceback": traceback}


def execution_count(count: int) -> Event:
    """How many cells the context has begun."""
    return {"type": "number_of_executions", "execution_count": count}


def restarted() -> Event:
    """The kernel ended in the middle of an execution."""
    return error("ContextRestarting", "Context was restarted")


def result(data: Mapping[str, Any], *, is_main: bool) -> Event:
    """A value in all representations the kernel made of it, by MIME type."""
    event: Event = {"type": "result", "is_main_result": is_main}
    extra: dict[str, Any] = {}
    for mime, value in data.items():
        if value is None:
            continue
        if mime == "text/plain":
            value = unquoted(value if isinstance(value, str) else str(value))
        if mime in _FIELDS:
            event[_FIELDS[mime]] = value
        else:
            extra[mime] = value
    event["extra"] = extra
    return event


def unquoted(text: str) -> str:
    """A string's representation without its one pair of quotes."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text
