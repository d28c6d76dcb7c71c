"""Tags of templates (rest-api contract §15.1–§15.3, sdk-latest contract §1.5)."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.template_tags import TagOrder, TagQuery, decode_tag_cursor, encode_tag_cursor
from sandbank.api.endpoints.http import body, models, template_models, template_shapes
from sandbank.api.endpoints.http.caller import CallingTeam, operations

router = APIRouter()

_BY_TIME = TagOrder.LATEST_DESC


@router.post("/templates/tags", status_code=201, openapi_extra=models.request_body(template_models.AssignTemplateTagsRequest))
async def assign(request: Request, team: CallingTeam) -> Response:
    """Let tags stand for the build that another name stands for."""
    sent = await body.read(request, template_models.AssignTemplateTagsRequest)
    tags, build_id = await operations(request).template_tags.assign(team, sent.target, sent.tags)
    return JSONResponse({"tags": list(tags), "buildID": build_id}, 201)


@router.delete("/templates/tags", status_code=204, openapi_extra=models.request_body(template_models.DeleteTemplateTagsRequest))
async def remove(request: Request, team: CallingTeam) -> Response:
    """Let tags stand for nothing."""
    sent = await body.read(request, template_models.DeleteTemplateTagsRequest)
    await operations(request).template_tags.remove(team, sent.name, sent.tags)
    return Response(status_code=204)


@router.get("/templates/{template_id}/tags")
async def list_all(request: Request, team: CallingTeam, template_id: str) -> Response:
    """The newest assignment of each tag."""
    found = await operations(request).template_tags.list(team, unquote(template_id))
    return JSONResponse([template_shapes.tag(one) for one in found])


@router.get("/templates/{template_id}/tags/count")
async def count(request: Request, team: CallingTeam, template_id: str) -> Response:
    """How many tags stand for a ready build."""
    return JSONResponse({"total": await operations(request).template_tags.count(team, unquote(template_id))})


@router.get("/templates/{template_id}/tags/exists")
async def exists(request: Request, team: CallingTeam, template_id: str, tag: str) -> Response:
    """Whether a tag stands for a ready build."""
    normalised, is_there = await operations(request).template_tags.exists(team, unquote(template_id), tag)
    return JSONResponse({"exists": is_there, "normalizedTag": normalised})


@router.get("/templates/{template_id}/tags/groups")
async def groups(
    request: Request,
    team: CallingTeam,
    template_id: str,
    assignment_limit: Annotated[int, Query(alias="assignmentLimit", ge=1, le=100)] = 6,
    tags_limit: Annotated[int, Query(alias="tagsLimit", ge=1, le=100)] = 25,
    tags_cursor: Annotated[str | None, Query(alias="tagsCursor")] = None,
    search: Annotated[str, Query(max_length=128)] = "",
    sort: Annotated[str, Query(pattern="^(latest_desc|latest_asc|name_asc|name_desc)$")] = "latest_desc",
) -> Response:
    """A page of tags, each with its newest assignments."""
    order = TagOrder(sort)
    after = decode_tag_cursor(tags_cursor, order) if tags_cursor else None
    query = TagQuery(tags_limit, assignment_limit, order, search, after)
    found, following = await operations(request).template_tags.groups(team, unquote(template_id), query)
    rows = [
        {"tag": one.tag, "assignments": [template_shapes.assignment(each) for each in one.assignments], "hasMore": one.has_more}
        for one in found
    ]
    return JSONResponse({"tags": rows, "nextCursor": None if following is None else encode_tag_cursor(following, order)})


@router.get("/templates/{template_id}/tags/{tag}/assignments")
async def assignments(
    request: Request,
    team: CallingTeam,
    template_id: str,
    tag: str,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """A page of what a tag has stood for, newest first."""
    after = decode_tag_cursor(cursor, _BY_TIME) if cursor else None
    found, following = await operations(request).template_tags.assignments(team, unquote(template_id), unquote(tag), limit, after)
    rows = [template_shapes.assignment(one) for one in found]
    return JSONResponse({"data": rows, "nextCursor": None if following is None else encode_tag_cursor(following, _BY_TIME)})
