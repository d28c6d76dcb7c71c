"""Templates: listed, named, published, deleted (rest-api contract §14.8–§14.12, §15.4)."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.pagination import Cursor, decode_cursor, encode_cursor
from sandbank.api.core.team import Team
from sandbank.api.core.team_selection import require_same_team
from sandbank.api.core.template_directory import TemplateCaller
from sandbank.api.endpoints.http import body, models, template_models, template_shapes
from sandbank.api.endpoints.http.caller import CallingTeam, TemplateCalling, operations

router = APIRouter()

TeamId = Annotated[str | None, Query(alias="teamID")]
PageSize = Annotated[int, Query(ge=1, le=100)]
NextToken = Annotated[str | None, Query(alias="nextToken")]


@router.get("/templates")
async def list_v1(request: Request, caller: TemplateCalling, team_id: TeamId = None) -> Response:
    """All of a team's templates, oldest first."""
    found = await operations(request).template_lister.list_all(_listed_team(caller, team_id))
    return JSONResponse([template_shapes.listed(one) for one in found])


@router.get("/v2/templates")
async def list_v2(
    request: Request, caller: TemplateCalling, team_id: TeamId = None, limit: PageSize = 100, next_token: NextToken = None
) -> Response:
    """A page of a team's templates, newest first."""
    team = _listed_team(caller, team_id)
    found, following = await operations(request).template_lister.list_page(team, limit, _after(next_token))
    return _paged(JSONResponse([template_shapes.listed(one) for one in found]), following)


@router.get("/default-templates")
async def list_defaults(request: Request, caller: TemplateCalling) -> Response:
    """What the installation offers to everybody."""
    found = await operations(request).template_lister.list_defaults(caller.team)
    return JSONResponse([template_shapes.listed(one) for one in found])


@router.get("/templates/aliases/{alias}")
async def find_alias(request: Request, team: CallingTeam, alias: str) -> Response:
    """Whether there is a template of that name, and whether it is the caller's: clients look at the status."""
    found = await operations(request).template_ownership.named(team, unquote(alias))
    return JSONResponse({"templateID": found.template_id, "public": found.public})


@router.get("/templates/{template_id}")
async def get(request: Request, team: CallingTeam, template_id: str, limit: PageSize = 100, next_token: NextToken = None) -> Response:
    """One by its ID, with a page of its builds, newest first."""
    found, builds, following = await operations(request).template_lister.get(team, unquote(template_id), limit, _after(next_token))
    shape = template_shapes.listed(found) | {"builds": [template_shapes.build(one) for one in builds]}
    return _paged(JSONResponse(shape), following)


@router.patch("/templates/{template_id}", openapi_extra=models.request_body(template_models.TemplateUpdateRequest, required=False))
async def update_v1(request: Request, caller: TemplateCalling, template_id: str) -> Response:
    """Make it public or not; a public one's names are everybody's to say then."""
    sent = await body.read(request, template_models.TemplateUpdateRequest, optional=True)
    await operations(request).template_publisher.update(caller, unquote(template_id), sent.public, promote=True)
    return JSONResponse(None)


@router.patch("/v2/templates/{template_id}", openapi_extra=models.request_body(template_models.TemplateUpdateRequest, required=False))
async def update_v2(request: Request, caller: TemplateCalling, template_id: str) -> Response:
    """Make it public or not."""
    sent = await body.read(request, template_models.TemplateUpdateRequest, optional=True)
    names = await operations(request).template_publisher.update(caller, unquote(template_id), sent.public)
    return JSONResponse({"names": list(names)})


@router.delete("/templates/{template_id}", status_code=204)
async def delete(request: Request, caller: TemplateCalling, template_id: str) -> Response:
    """Forget a template, or a snapshot, that nothing was made of."""
    await operations(request).template_remover.delete(caller, unquote(template_id))
    return Response(status_code=204)


def _listed_team(caller: TemplateCaller, team_id: str | None) -> Team:
    if not caller.is_user:  # for users it has chosen the team
        require_same_team(caller.team, team_id)
    return caller.team


def _after(next_token: str | None) -> Cursor | None:
    return decode_cursor(next_token, ascending=False) if next_token else None


def _paged(response: Response, following: Cursor | None) -> Response:
    if following is not None:
        response.headers["X-Next-Token"] = encode_cursor(following, ascending=False)
    return response
