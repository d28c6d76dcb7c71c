"""Building templates: asked for, started, watched (rest-api contract §14.1–§14.7)."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.authentication import Manager
from sandbank.api.core.team import Team
from sandbank.api.core.team_selection import require_same_team
from sandbank.api.core.template_recipe import BuildRecipe, BuildStep
from sandbank.api.core.template_request import BuildWish, ImageWish
from sandbank.api.core.template_status import MOST_LINES, LogQuestion
from sandbank.api.endpoints.http import body, models, template_models, template_shapes
from sandbank.api.endpoints.http.caller import CallingTeam, ImageCalling, TemplateCalling, admit, operations, template_user

router = APIRouter()

Offset = Annotated[int, Query(alias="logsOffset", ge=0, le=2**31 - 1)]
Lines = Annotated[int, Query(ge=0, le=MOST_LINES)]
Level = Annotated[str | None, Query(pattern="^(debug|info|warn|error)$")]


@router.post("/v3/templates", status_code=202, openapi_extra=models.request_body(template_models.TemplateBuildRequestV3))
async def request_v3(request: Request, team: CallingTeam) -> Response:
    """Register a build: of the template of that name, or of a new one."""
    sent = await body.read(request, template_models.TemplateBuildRequestV3)
    require_same_team(team, sent.team_id)
    wish = BuildWish(sent.name or sent.alias, sent.tags or (), sent.cpu_count, sent.memory_mb, sent.min_free_disk_mb)
    return JSONResponse(template_shapes.requested(await operations(request).build_requester.request(team, wish)), 202)


@router.post("/v2/templates", status_code=202, openapi_extra=models.request_body(template_models.TemplateBuildRequestV2))
async def request_v2(request: Request, team: CallingTeam) -> Response:
    """As the newer one, with fewer choices."""
    sent = await body.read(request, template_models.TemplateBuildRequestV2)
    require_same_team(team, sent.team_id)
    wish = BuildWish(sent.alias, (), sent.cpu_count, sent.memory_mb)
    return JSONResponse(template_shapes.requested_legacy(await operations(request).build_requester.request(team, wish)), 202)


@router.post("/templates", status_code=202, openapi_extra=models.request_body(template_models.TemplateBuildRequest))
async def request_image(request: Request, known: ImageCalling) -> Response:
    """Register a build of a new template whose image will be pushed."""
    return await _request_image(request, known, None)


@router.post("/templates/{template_id}", status_code=202, openapi_extra=models.request_body(template_models.TemplateBuildRequest))
async def request_image_again(request: Request, known: ImageCalling, template_id: str) -> Response:
    """Register another build of a template whose image will be pushed."""
    return await _request_image(request, known, unquote(template_id))


@router.post("/templates/{template_id}/builds/{build_id}", status_code=202)
async def start_image(request: Request, known: ImageCalling, template_id: str, build_id: str) -> Response:
    """Build what has been pushed. The oldest clients give up unless it is in progress when this is answered."""
    team, _ = await _image_team(request, known, None)
    await operations(request).build_starter.start_image(team, unquote(template_id), unquote(build_id))
    return Response(status_code=202)


@router.post(
    "/v2/templates/{template_id}/builds/{build_id}",
    status_code=202,
    openapi_extra=models.request_body(template_models.TemplateBuildStartV2),
)
async def start(request: Request, team: CallingTeam, template_id: str, build_id: str) -> Response:
    """Build a recipe. What is wrong with it beyond its shape is told by the build's status."""
    sent = await body.read(request, template_models.TemplateBuildStartV2)
    agent = request.headers.get("user-agent", "")
    await operations(request).build_starter.start(team, unquote(template_id), unquote(build_id), _recipe(sent), agent)
    return Response(status_code=202)


@router.get("/templates/{template_id}/builds/{build_id}/status")
async def status(
    request: Request,
    caller: TemplateCalling,
    template_id: str,
    build_id: str,
    offset: Offset = 0,
    limit: Lines = MOST_LINES,
    level: Level = None,
) -> Response:
    """A build's state, and its log from an offset on."""
    found = await operations(request).build_reader.status(
        caller.team, unquote(template_id), unquote(build_id), offset=offset, limit=limit, min_level=level
    )
    return JSONResponse(template_shapes.status(found))


@router.get("/templates/{template_id}/builds/{build_id}/logs")
async def logs(
    request: Request,
    caller: TemplateCalling,
    template_id: str,
    build_id: str,
    cursor: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    limit: Lines = MOST_LINES,
    direction: Annotated[str, Query(pattern="^(forward|backward)$")] = "forward",
    level: Level = None,
    source: Annotated[str | None, Query(pattern="^(temporary|persistent)$")] = None,
) -> Response:
    """A build's log by time."""
    question = LogQuestion(cursor, limit, newest_first=direction == "backward", min_level=level, source=source)
    lines = await operations(request).build_reader.logs(caller.team, unquote(template_id), unquote(build_id), question)
    return JSONResponse({"logs": [template_shapes.line(one) for one in lines]})


async def _request_image(request: Request, known: Manager | str, template_id: str | None) -> Response:
    sent = await body.read(request, template_models.TemplateBuildRequest)
    team, user_id = await _image_team(request, known, sent.team_id)
    wish = BuildWish(sent.alias, (), sent.cpu_count, sent.memory_mb)
    image = ImageWish(sent.dockerfile, sent.start_cmd, sent.ready_cmd, user_id)
    made = await operations(request).build_requester.request_image(team, wish, image, template_id)
    return JSONResponse(template_shapes.requested_image(made), 202)


async def _image_team(request: Request, known: Manager | str, team_id: str | None) -> tuple[Team, str | None]:
    if isinstance(known, Manager):
        team, user_id = known.team, known.user_id
        require_same_team(team, team_id)
    else:
        team, user_id = (await template_user(request, known, team_id)).team, known
    await admit(request, team)
    return team, user_id


def _recipe(sent: template_models.TemplateBuildStartV2) -> BuildRecipe:
    registry = sent.from_image_registry
    return BuildRecipe(
        image=sent.from_image,
        template=sent.from_template,
        steps=[BuildStep(one.type, one.args or (), one.files_hash or None, bool(one.force)) for one in sent.steps or ()],
        start_cmd=sent.start_cmd or "",
        ready_cmd=sent.ready_cmd or "",
        force=bool(sent.force),
        registry=None if registry is None else registry.model_dump(by_alias=True),
    )
