"""`/sandboxes` and `/v2/sandboxes` (REST contract §8, sdk-latest contract §1.5)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.access import not_found
from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.identity import IamToken
from sandbank.api.core.listing import STATES, ListSandboxes
from sandbank.api.core.metadata_filter import parse_metadata_filter
from sandbank.api.core.pagination import decode_cursor, encode_cursor
from sandbank.api.core.timeouts import V1_DEFAULT_SECONDS, V2_DEFAULT_SECONDS
from sandbank.api.endpoints.http import body, models, shapes
from sandbank.api.endpoints.http.caller import CallingTeam, operations, sandbox_id_of
from sandbank.domain.errors import InvalidError
from sandbank.domain.states import public_state

router = APIRouter()


def _domain(request: Request) -> str | None:
    domain: str | None = request.app.state.domain
    return domain


def _command(sent: models.CreateV1 | models.CreateV2, *, secure: bool, default_timeout_seconds: int) -> CreateSandbox:
    return CreateSandbox(
        template=sent.template_id,
        timeout_seconds=default_timeout_seconds if sent.timeout is None else sent.timeout,
        secure=secure,
        metadata=sent.metadata or {},
        env_vars=sent.env_vars or {},
        allow_internet_access=sent.allow_internet_access,
        network=None if sent.network is None else sent.network.model_dump(by_alias=True, exclude_none=True),
        auto_pause=sent.auto_pause,
        auto_pause_memory=sent.auto_pause_memory is not False,
        auto_resume=sent.auto_resume is not None and sent.auto_resume.enabled,
        iam_tokens={name: IamToken(token.audience, token.token_type) for name, token in ((sent.iam and sent.iam.tokens) or {}).items()},
        volume_mounts=[(mount.name, mount.path) for mount in sent.volume_mounts or ()],
    )


@router.post("/sandboxes", status_code=201, openapi_extra=models.request_body(models.CreateV1))
async def create_v1(request: Request, team: CallingTeam) -> Response:
    """Create a sandbox; secured only where asked for."""
    sent = await body.read(request, models.CreateV1)
    command = _command(sent, secure=sent.secure or False, default_timeout_seconds=V1_DEFAULT_SECONDS)
    sandbox = await operations(request).creator.create(team, command)
    return JSONResponse(shapes.created(sandbox, _domain(request)), 201)


@router.post("/v2/sandboxes", status_code=201, openapi_extra=models.request_body(models.CreateV2))
async def create_v2(request: Request, team: CallingTeam) -> Response:
    """Create a sandbox, secured; an `Idempotency-Key` makes sending it again safe."""
    raw = await body.read_bytes(request)
    sent = body.parse(request, raw, models.CreateV2)
    command = _command(sent, secure=True, default_timeout_seconds=V2_DEFAULT_SECONDS)
    creator, domain = operations(request).creator, _domain(request)
    key = request.headers.get("idempotency-key")
    if key is None:
        return JSONResponse(shapes.created(await creator.create(team, command), domain), 201)
    answer = await operations(request).creates.once(
        team.team_id,
        key,
        hashlib.sha256(raw).hexdigest(),
        lambda sandbox_id: creator.create(team, command, sandbox_id),
        lambda sandbox: shapes.created(sandbox, domain),
    )
    return JSONResponse(answer, 201)


def _metadata(text: str | None, *, detailed: bool) -> dict[str, str]:
    if text is None:
        return {}
    try:
        return parse_metadata_filter(text)
    except InvalidError as error:
        raise InvalidError(f"Error parsing metadata: {error.message}" if detailed else "Error parsing metadata") from error


@router.get("/sandboxes")
async def list_v1(request: Request, team: CallingTeam, metadata: str | None = None) -> Response:
    """All running sandboxes, newest first."""
    found = await operations(request).lister.running(team, _metadata(metadata, detailed=True))
    return JSONResponse([shapes.listed(sandbox) for sandbox in found])


def _states(text: str | None) -> frozenset[str]:
    states = STATES if text is None else frozenset(text.split(","))
    if not states <= STATES:
        raise InvalidError(
            'validation error: parameter "state" in query has an error: value is not one of the allowed values ["running","paused"]'
        )
    return states


def _started_after(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # A `+` that nobody encoded arrives as a space.
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise InvalidError('validation error: parameter "startedAfter" in query has an error: not a date-time') from error
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@router.get("/v2/sandboxes")
async def list_v2(
    request: Request,
    team: CallingTeam,
    metadata: str | None = None,
    state: str | None = None,
    order: Annotated[str, Query(pattern="^(asc|desc)$")] = "desc",
    started_after: Annotated[str | None, Query(alias="startedAfter")] = None,
    template: str | None = None,
    next_token: Annotated[str | None, Query(alias="nextToken")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> Response:
    """A page of sandboxes."""
    ascending = order == "asc"
    query = ListSandboxes(
        metadata=_metadata(metadata, detailed=False),
        states=_states(state),
        ascending=ascending,
        started_after=_started_after(started_after),
        template=template,
        after=decode_cursor(next_token, ascending=ascending) if next_token else None,
        limit=limit,
    )
    page = await operations(request).lister.page(team, query)
    response = JSONResponse([shapes.listed(sandbox) for sandbox in page.sandboxes])
    if page.following is not None:
        response.headers["X-Next-Token"] = encode_cursor(page.following, ascending=ascending)
    if page.total_running is not None:
        response.headers["X-Total-Running"] = str(page.total_running)
    return response


@router.get("/sandboxes/{sandbox_id}")
async def get(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """One sandbox, running or paused."""
    bare_id = sandbox_id_of(sandbox_id)
    sandbox = await operations(request).sandboxes.find(bare_id)
    if sandbox is None:
        sandbox = (await operations(request).paused.get_own(team, bare_id)).sandbox
    if sandbox.team_id != team.team_id or public_state(sandbox.state) is None:
        raise not_found(bare_id)
    return JSONResponse(shapes.detailed(sandbox, _domain(request)))


@router.delete("/sandboxes/{sandbox_id}", status_code=204)
async def kill(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """End a sandbox."""
    await operations(request).killer.kill(team, sandbox_id_of(sandbox_id))
    return Response(status_code=204)
