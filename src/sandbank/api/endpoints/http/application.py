"""The ASGI application."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from sandbank.api.core.operations import Operations
from sandbank.api.endpoints.http import (
    access_tokens,
    admin,
    admin_teams,
    api_keys,
    errors,
    identity,
    lifecycle,
    logs,
    metrics,
    network,
    nodes,
    sandboxes,
    snapshots,
    team_secrets,
    teams,
    template_builds,
    template_files,
    template_tags,
    templates,
    volume_content,
    volumes,
)
from sandbank.api.endpoints.http.boundary import RequestBoundary
from sandbank.api.endpoints.http.document import build as document
from sandbank.domain.errors import SandbankError
from sandbank.version import VERSION

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
_REQUEST_HEADERS = [
    "Origin",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Authorization",
    "X-API-Key",
    "X-Team-ID",
    "browser",
    "lang",
    "lang_version",
    "machine",
    "os",
    "package_version",
    "processor",
    "publisher",
    "release",
    "sdk_runtime",
    "system",
    "Idempotency-Key",
]
_EXPOSED_HEADERS = [
    "X-Next-Token",
    "X-Total-Running",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "Should-Retry",
    "X-Request-Id",
]


def build_api() -> FastAPI:
    """The routes and their document."""
    app = FastAPI(title="Sandbank", version=VERSION, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_exception_handler(SandbankError, errors.on_domain_error)
    app.add_exception_handler(RequestValidationError, errors.on_invalid_parameters)
    app.add_exception_handler(HTTPException, errors.on_no_route)
    for router in (metrics.router, sandboxes.router, lifecycle.router, snapshots.router, network.router, logs.router, teams.router):
        app.include_router(router)
    # Fixed segments before parameters (§26): tags and aliases are no templates.
    for router in (template_tags.router, templates.router, template_builds.router, template_files.router):
        app.include_router(router)
    for router in (
        volumes.router,
        volume_content.router,
        team_secrets.router,
        api_keys.router,
        access_tokens.router,
        admin_teams.router,
        nodes.router,
        admin.router,
        identity.router,
    ):
        app.include_router(router)
    document.install(app)
    return app


def build_application(operations: Operations, domain: str | None, upload_base_url: str | None = None) -> ASGIApp:
    """Everything between the HTTP server and the core. `domain` is what clients build sandbox addresses from, if not their own.

    `upload_base_url` is where clients reach this API with archives, if not where they reach it otherwise.
    """
    app = build_api()
    app.state.operations = operations
    app.state.domain = domain
    app.state.upload_base_url = upload_base_url
    open_to_browsers = CORSMiddleware(
        app, allow_origins=["*"], allow_methods=_METHODS, allow_headers=_REQUEST_HEADERS, expose_headers=_EXPOSED_HEADERS
    )
    return RequestBoundary(open_to_browsers)
