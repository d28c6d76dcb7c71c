"""Reading JSON bodies: bounded in size and time, validated after authentication (REST contract §1)."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from sandbank.api.endpoints.http.errors import BodyTooLargeError
from sandbank.domain.errors import DeadlineError, InvalidError

_LIMIT_BYTES = 16 * 1024 * 1024
_READ_SECONDS = 10.0

ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_bytes(request: Request, limit_bytes: int = _LIMIT_BYTES) -> bytes:
    """The whole body; the newest clients send it in chunks, without a length."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit_bytes:
                    raise BodyTooLargeError(f"request body is larger than {limit_bytes} bytes")
                chunks.append(chunk)
    except TimeoutError as error:
        raise DeadlineError("the request body took too long to arrive") from error
    except ClientDisconnect as error:
        raise InvalidError("the request body broke off") from error
    return b"".join(chunks)


def parse(request: Request, body: bytes, model: type[ModelT], *, optional: bool = False) -> ModelT:
    """The body as `model`; an absent one counts as `{}` where it is `optional`. Unknown fields are ignored."""
    if not body.strip():
        if not optional:
            raise InvalidError("validation error: request body has an error: value is required but missing")
        body = b"{}"
    elif request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidError("validation error: request body has an error: header Content-Type must be application/json")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"/{part}" for part in first["loc"])
        at = f' at "{where}"' if where else ""
        raise InvalidError(f"validation error: request body has an error: doesn't match schema{at}: {first['msg']}") from error


async def read(request: Request, model: type[ModelT], *, optional: bool = False, limit_bytes: int = _LIMIT_BYTES) -> ModelT:
    """Read and parse."""
    return parse(request, await read_bytes(request, limit_bytes), model, optional=optional)
