"""`GET /sandboxes/{id}/logs` and its second version (rest-api contract §13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.logs import DEFAULT_LIMIT
from sandbank.api.endpoints.http.caller import CallingTeam, operations, sandbox_id_of
from sandbank.domain.log_query import LogEntry
from sandbank.domain.log_record import rfc3339_nano

router = APIRouter()

Milliseconds = Annotated[int | None, Query(ge=0, le=2**63 - 1)]


@router.get("/sandboxes/{sandbox_id}/logs")
async def logs_v1(
    request: Request,
    team: CallingTeam,
    sandbox_id: str,
    start: Milliseconds = None,
    limit: Annotated[int, Query(ge=0, le=2**31 - 1)] = DEFAULT_LIMIT,
) -> Response:
    """Oldest first; a sandbox that nobody knows has no logs and is no error."""
    entries = await operations(request).logs.since(team, sandbox_id_of(sandbox_id), start, limit)
    lines = [{"timestamp": rfc3339_nano(entry.timestamp_ns), "line": entry.line} for entry in entries]
    return JSONResponse({"logs": lines, "logEntries": _shapes(entries)})


@router.get("/v2/sandboxes/{sandbox_id}/logs")
async def logs_v2(
    request: Request,
    team: CallingTeam,
    sandbox_id: str,
    cursor: Milliseconds = None,
    limit: Annotated[int, Query(ge=0, le=DEFAULT_LIMIT)] = DEFAULT_LIMIT,
    direction: Annotated[str, Query(pattern="^(forward|backward)$")] = "backward",
    level: Annotated[str | None, Query(pattern="^(debug|info|warn|error)$")] = None,
    search: Annotated[str, Query(max_length=256)] = "",
) -> Response:
    """One page, newest first unless asked otherwise."""
    entries = await operations(request).logs.page(
        team, sandbox_id_of(sandbox_id), cursor, limit, newest_first=direction == "backward", min_level=level, search=search
    )
    return JSONResponse({"logs": _shapes(entries)})


def _shapes(entries: Sequence[LogEntry]) -> list[dict[str, Any]]:
    return [
        {
            "timestamp": rfc3339_nano(entry.timestamp_ns),
            "level": entry.level,
            "message": entry.message,
            "fields": dict(entry.fields),
        }
        for entry in entries
    ]
