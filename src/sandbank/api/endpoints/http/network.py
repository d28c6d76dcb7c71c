"""`PUT /sandboxes/{id}/network` (REST contract §10.3)."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from sandbank.api.endpoints.http import body, models
from sandbank.api.endpoints.http.caller import CallingTeam, operations, sandbox_id_of

router = APIRouter()


@router.put("/sandboxes/{sandbox_id}/network", status_code=204, openapi_extra=models.request_body(models.NetworkUpdate))
async def update_network(request: Request, team: CallingTeam, sandbox_id: str) -> Response:
    """Replace what a sandbox may reach."""
    sent = await body.read(request, models.NetworkUpdate)
    egress = sent.model_dump(by_alias=True, exclude_none=True, exclude={"allow_internet_access"})
    await operations(request).network.update(team, sandbox_id_of(sandbox_id), egress, sent.allow_internet_access)
    return Response(status_code=204)
