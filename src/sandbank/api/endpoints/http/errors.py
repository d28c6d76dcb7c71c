"""Errors on the wire: `{code, message, error_code?}`, always JSON, `code` equal to the status (REST contract §2)."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request

from sandbank.api.core.idempotency import IdempotencyMismatchError
from sandbank.domain.errors import InvalidError, SandbankError, UnavailableError
from sandbank.servicekit.http_status import STATUS_OF_CATEGORY, status_of

# What is merely not there at the moment may be there in a moment: the official clients wait that long before they ask again.
_UNAVAILABLE_SECONDS = 1


OLD_COMMAND_LINE = "Endpoint deprecated please update your CLI to the latest version"
"""To those that send forms to templates' routes (REST contract §2)."""


class BodyTooLargeError(InvalidError):
    """The request's body exceeds what is read."""


# About secrets little is said, and never anything of what was sent (rest-api contract §20).
_SECRETS_STATUS = {500: 502, 503: 502}
_SECRETS_MESSAGES = {
    400: "Invalid secrets request",
    401: "You are not authenticated",
    404: "Secret not found",
    409: "Secret cannot be modified in its current state",
    502: "Secrets backend error",
    504: "Secrets backend timed out",
}
_STATUS_OF_CATEGORY = {**STATUS_OF_CATEGORY, BodyTooLargeError: 413, IdempotencyMismatchError: 422}


def error_response(
    status: int,
    message: str,
    error_code: str | None = None,
    should_retry: bool | None = None,
    retry_after_seconds: int | None = None,
) -> JSONResponse:
    """The universal body. `Should-Retry` overrides what the Python SDK would do by status (sdk-latest contract §1.2)."""
    body: dict[str, Any] = {"code": status, "message": message}
    if error_code is not None:
        body["error_code"] = error_code
    headers: dict[str, str] = {}
    if should_retry is not None:
        headers["Should-Retry"] = "true" if should_retry else "false"
    if retry_after_seconds is not None:
        headers["Retry-After"] = str(retry_after_seconds)
    return JSONResponse(body, status, headers)


def response_of(error: SandbankError) -> JSONResponse:
    """A domain error's response, by its nearest category."""
    retry_after = error.retry_after_seconds
    if retry_after is None and isinstance(error, UnavailableError) and error.should_retry is not False:
        retry_after = _UNAVAILABLE_SECONDS
    return error_response(status_of(error, _STATUS_OF_CATEGORY), error.message, error.error_code, error.should_retry, retry_after)


def error_body(error: SandbankError) -> dict[str, Any]:
    """A domain error as part of an answer that is none itself."""
    return {"code": status_of(error, _STATUS_OF_CATEGORY), "message": error.message}


async def on_domain_error(request: Request, error: Exception) -> JSONResponse:
    """For exceptions of the core."""
    assert isinstance(error, SandbankError)
    return _of_secrets(error) if _is_for_secrets(request) else response_of(error)


def _is_for_secrets(request: Request) -> bool:
    path: str = request.scope["path"]
    return path.startswith("/secrets")


def _of_secrets(error: SandbankError) -> JSONResponse:
    status = _SECRETS_STATUS.get(own := status_of(error, _STATUS_OF_CATEGORY), own)
    message = _SECRETS_MESSAGES.get(status, error.message)
    return error_response(status, message, error.error_code, error.should_retry, error.retry_after_seconds)


async def on_invalid_parameters(request: Request, error: Exception) -> JSONResponse:
    """For query parameters of the wrong shape."""
    assert isinstance(error, RequestValidationError)
    if _is_for_secrets(request):
        return error_response(400, _SECRETS_MESSAGES[400])
    first = error.errors()[0]
    name = first["loc"][-1] if first["loc"] else "?"
    return error_response(400, f'validation error: parameter "{name}" in {first["loc"][0]} has an error: {first["msg"]}')


async def on_no_route(request: Request, error: Exception) -> JSONResponse:
    """For paths and methods that nothing answers, with the hints that older clients get."""
    assert isinstance(error, HTTPException)
    path: str = request.scope["path"]
    if path.startswith(("/instances", "/envs")):
        return error_response(404, "Endpoints are deprecated, please update your SDK to use the new endpoints.")
    if path.startswith("/templates") and request.headers.get("content-type", "").startswith("multipart/"):
        return error_response(404, OLD_COMMAND_LINE)
    if error.status_code in (404, 405):
        return error_response(404, "validation error: no matching operation was found")
    return error_response(error.status_code, str(error.detail))
