"""What happens to a sandbox between create and kill: its end moves, it is paused and comes back, others are forked of it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.timeouts import V1_DEFAULT_SECONDS, V2_DEFAULT_SECONDS, require_within_plan
from sandbank.api.endpoints.http import body, errors, models, shapes
from sandbank.api.endpoints.http.caller import CallingTeam, operations, sandbox_id_of
from sandbank.domain.errors import SandbankError

router = APIRouter()


@router.post("/sandboxes/{sandbox_id}/connect", openapi_extra=models.request_body(models.ConnectV1))
async def connect_v1(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """Keep a sandbox alive and get what it takes to talk to it."""
    sent = await body.read(request, models.ConnectV1)
    return await _connect(request, team, sandbox_id, sent.timeout, sent.memory)


@router.post("/v2/sandboxes/{sandbox_id}/connect", openapi_extra=models.request_body(models.ConnectV2, required=False))
async def connect_v2(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """As the older one, with a timeout by default."""
    sent = await body.read(request, models.ConnectV2, optional=True)
    return await _connect(request, team, sandbox_id, V2_DEFAULT_SECONDS if sent.timeout is None else sent.timeout, sent.memory)


async def _connect(request: Request, team: CallingTeam, sandbox_id: str, timeout_seconds: int, memory: bool | None) -> Response:
    require_within_plan(team, timeout_seconds)  # before the ID is looked at (§8.8)
    resumer = operations(request).resumer
    sandbox, was_paused = await resumer.connect(team, sandbox_id_of(sandbox_id), timeout_seconds, memory=memory)
    return JSONResponse(shapes.created(sandbox, request.app.state.domain), 201 if was_paused else 200)


@router.post("/sandboxes/{sandbox_id}/pause", status_code=204, openapi_extra=models.request_body(models.Pause, required=False))
async def pause(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """Save a sandbox, with its memory unless that is not wanted, and end it."""
    sent = await body.read(request, models.Pause, optional=True)
    bare_id = sandbox_id_of(sandbox_id)
    await operations(request).pauser.pause(team, bare_id, memory=sent.memory is not False)
    return Response(status_code=204)


@router.post("/sandboxes/{sandbox_id}/resume", status_code=201, openapi_extra=models.request_body(models.Resume, required=False))
async def resume(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """Bring a paused sandbox back; clients of today connect instead."""
    sent = await body.read(request, models.Resume, optional=True)
    timeout_seconds = V1_DEFAULT_SECONDS if sent.timeout is None else sent.timeout
    sandbox = await operations(request).resumer.resume(
        team, sandbox_id_of(sandbox_id), timeout_seconds, auto_pause=sent.auto_pause, memory=sent.memory
    )
    return JSONResponse(shapes.created(sandbox, request.app.state.domain), 201)


@router.post("/sandboxes/{sandbox_id}/fork", status_code=201, openapi_extra=models.request_body(models.Fork, required=False))
async def fork(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """Start others that go on where this sandbox is; each has an answer of its own."""
    sent = await body.read(request, models.Fork, optional=True)
    timeout_seconds = V1_DEFAULT_SECONDS if sent.timeout is None else sent.timeout
    results = await operations(request).forker.fork(team, sandbox_id_of(sandbox_id), timeout_seconds, sent.count)
    domain = request.app.state.domain
    return JSONResponse(
        [
            {"error": errors.error_body(result)} if isinstance(result, SandbankError) else {"sandbox": shapes.created(result, domain)}
            for result in results
        ],
        201,
    )


@router.post("/sandboxes/{sandbox_id}/timeout", status_code=204, openapi_extra=models.request_body(models.Timeout))
async def set_timeout(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """End a sandbox so many seconds from now."""
    sent = await body.read(request, models.Timeout)
    await operations(request).extender.set_timeout(team, sandbox_id_of(sandbox_id), sent.timeout)
    return Response(status_code=204)


@router.post("/sandboxes/{sandbox_id}/refreshes", status_code=204, openapi_extra=models.request_body(models.Refresh, required=False))
async def refresh(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """Keep a sandbox alive at least so many seconds from now."""
    sent = await body.read(request, models.Refresh, optional=True)
    await operations(request).extender.refresh(team, sandbox_id_of(sandbox_id), sent.duration or 0)
    return Response(status_code=204)
