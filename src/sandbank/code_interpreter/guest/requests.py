"""Bodies of requests, checked; a wrong one raises `InvalidRequestError` with the words for the client."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .languages import normalised

MAX_BODY_BYTES = 64 << 20


class InvalidRequestError(Exception):
    """The text is the answer's; `status` its code."""

    def __init__(self, text: str, status: int = 422) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class ExecuteRequest:
    """`POST /execute`; at most one of the first two optional ones is set."""

    code: str
    context_id: str | None = None
    language: str | None = None
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ContextRequest:
    """`POST /contexts`."""

    language: str
    cwd: str | None


def execute_request(body: bytes) -> ExecuteRequest:
    """Null means absent, unknown fields are ignored."""
    found = _object(body)
    code = found.get("code")
    if not isinstance(code, str):
        raise InvalidRequestError("code: a string is required")
    context_id, language = _text(found, "context_id"), _text(found, "language")
    if context_id and language:
        raise InvalidRequestError("Only one of context_id or language can be provided", 400)
    variables = found.get("env_vars") or {}
    if not isinstance(variables, dict):
        raise InvalidRequestError("env_vars: an object with strings is required")
    for name, value in variables.items():
        if not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise InvalidRequestError("env_vars: an object with strings is required")
    return ExecuteRequest(code, context_id or None, language, variables)


def context_request(body: bytes) -> ContextRequest:
    """An empty body asks for the defaults."""
    found = _object(body) if body.strip() else {}
    return ContextRequest(normalised(_text(found, "language")), _text(found, "cwd"))


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequestError("The body is not JSON") from None
    if not isinstance(found, dict):
        raise InvalidRequestError("The body is not a JSON object")
    return found


def _text(found: dict[str, Any], name: str) -> str | None:
    value = found.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"{name}: a string is required")
    return value
