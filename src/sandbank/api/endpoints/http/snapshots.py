"""Snapshots that are templates (rest-api contract §9.1, §9.2)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.pagination import decode_cursor, encode_cursor
from sandbank.api.core.snapshot_templates import SnapshotQuery, SnapshotTemplate, parse_snapshot_filter
from sandbank.api.endpoints.http import body, models
from sandbank.api.endpoints.http.caller import CallingTeam, operations, sandbox_id_of
from sandbank.domain.identifiers import parse_sandbox_id

router = APIRouter()


@router.post("/sandboxes/{sandbox_id}/snapshots", status_code=201, openapi_extra=models.request_body(models.NewSnapshot))
async def take(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """Make a template of a running sandbox, with its memory or, as newer clients may ask, without."""
    sent = await body.read(request, models.NewSnapshot)
    bare_id = sandbox_id_of(sandbox_id)
    taken = await operations(request).snapshot_templates.take(team, bare_id, sent.name, memory=sent.memory is not False)
    return JSONResponse(_shape(taken), 201)


@router.get("/snapshots")
async def list_all(
    request: Request,
    team: CallingTeam,
    sandbox_id: Annotated[str | None, Query(alias="sandboxID")] = None,
    name: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    next_token: Annotated[str | None, Query(alias="nextToken")] = None,
) -> Response:
    """A page of the team's snapshots, newest first."""
    reference, tag = (None, None) if name is None else parse_snapshot_filter(name)
    query = SnapshotQuery(
        sandbox_id=None if sandbox_id is None else parse_sandbox_id(sandbox_id),
        reference=reference,
        tag=tag,
        after=decode_cursor(next_token, ascending=False) if next_token else None,
        limit=limit,
    )
    found, following = await operations(request).snapshot_templates.list(team, query)
    response = JSONResponse([_shape(one) for one in found])
    if following is not None:
        response.headers["X-Next-Token"] = encode_cursor(following, ascending=False)
    return response


def _shape(snapshot: SnapshotTemplate) -> dict[str, Any]:
    return {"snapshotID": snapshot.snapshot_id, "names": list(snapshot.names)}
