"""The server's routes (contract templates-and-data §10.3, §10.4)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from .contexts import Contexts, UnknownContextError
from .kernel import KernelFailedError
from .languages import normalised
from .requests import MAX_BODY_BYTES, InvalidRequestError, context_request, execute_request
from .stream import lines

log = logging.getLogger(__name__)

Variables = Callable[[str | None], Awaitable[dict[str, str] | None]]


class Endpoints:
    """`variables` asks for those of the sandbox, with the caller's access token."""

    def __init__(self, contexts: Contexts, variables: Variables) -> None:
        self._contexts = contexts
        self._variables = variables

    async def health(self, _: Request) -> Response:
        """Answered as soon as the default contexts are there."""
        return PlainTextResponse("OK")

    async def execute(self, request: Request) -> Response:
        """Runs a cell and streams what it does."""
        wanted = execute_request(await _body(request))
        if wanted.context_id:
            context = self._contexts.get(wanted.context_id)
        else:
            context = await self._contexts.default(normalised(wanted.language))
        variables = partial(self._variables, request.headers.get("X-Access-Token"))
        return StreamingResponse(lines(context.execute(wanted.code, wanted.variables, variables)))

    async def create_context(self, request: Request) -> Response:
        """A new context."""
        wanted = context_request(await _body(request))
        context = await self._contexts.create(wanted.language, wanted.cwd)
        return JSONResponse(context.describe())

    async def list_contexts(self, _: Request) -> Response:
        """All contexts, default ones among them."""
        return JSONResponse([context.describe() for context in self._contexts.list_all()])

    async def restart_context(self, request: Request) -> Response:
        """A new kernel for a context."""
        context = self._contexts.get(request.path_params["context_id"])
        try:
            await context.restart()
        except KernelFailedError:
            log.exception("no new kernel")
            return PlainTextResponse(f"Failed to restart context {context.id}", 500)
        return JSONResponse(None)

    async def remove_context(self, request: Request) -> Response:
        """Ends a context."""
        await self._contexts.remove(request.path_params["context_id"])
        return JSONResponse(None)


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise InvalidRequestError("The request is too large", 413)
    return b"".join(chunks)


async def _unknown_context(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"Context {error} not found", 404)


async def _invalid(_: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), error.status if isinstance(error, InvalidRequestError) else 422)


async def _failed(_: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 500)


def application(contexts: Contexts, variables: Variables, warm_up: str) -> Starlette:
    """An ASGI application; serving begins when the default contexts are warm."""
    endpoints = Endpoints(contexts, variables)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await contexts.open(warm_up)
        try:
            yield
        finally:
            await contexts.close()

    return Starlette(
        routes=[
            Route("/health", endpoints.health),
            Route("/execute", endpoints.execute, methods=["POST"]),
            Route("/contexts", endpoints.create_context, methods=["POST"]),
            Route("/contexts", endpoints.list_contexts),
            Route("/contexts/{context_id}/restart", endpoints.restart_context, methods=["POST"]),
            Route("/contexts/{context_id}", endpoints.remove_context, methods=["DELETE"]),
        ],
        middleware=[
            Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], allow_credentials=True),
        ],
        exception_handlers={UnknownContextError: _unknown_context, InvalidRequestError: _invalid, KernelFailedError: _failed},
        lifespan=lifespan,
    )
