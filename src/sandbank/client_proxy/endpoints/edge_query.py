"""What the edge API's questions for logs and metrics may ask (contract data-plane §8.4)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbank.client_proxy.endpoints.edge_message import Request
from sandbank.domain.errors import InvalidError

_MAX_PARAMETERS = 256
_MAX_OFFSET = 100_000

Moment = Annotated[int | None, Field(ge=0, le=2**63 - 1)]
Level = Literal["debug", "info", "warn", "error"]


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True)


class SandboxLogs(_Query):
    """Milliseconds."""

    team_id: UUID = Field(alias="teamID")
    start: Moment = None
    end: Moment = None
    limit: int = Field(default=1000, ge=0, le=2**31 - 1)
    direction: Literal["forward", "backward"] = "forward"
    level: Level | None = None
    search: str = Field(default="", max_length=256)


class BuildLogs(_Query):
    """Milliseconds. The node that builds is not asked: lines are in the store, whoever wrote them."""

    template_id: str = Field(alias="templateID", min_length=1, max_length=256)
    offset: int = Field(default=0, ge=0, le=_MAX_OFFSET)
    start: Moment = None
    end: Moment = None
    limit: int = Field(default=100, ge=0, le=100)
    direction: Literal["forward", "backward"] = "forward"
    level: Level | None = None


class SandboxMetrics(_Query):
    """Seconds."""

    team_id: UUID = Field(alias="teamID")
    start: Moment = None
    end: Moment = None


class LatestMetrics(_Query):
    """IDs, each a parameter of its own or several with commas between."""

    team_id: UUID = Field(alias="teamID")
    sandbox_ids: str = Field(min_length=1)


_Kind = TypeVar("_Kind", bound=_Query)


def read_query(request: Request, kind: type[_Kind]) -> _Kind:
    """`InvalidError` for whatever the schema does not allow; unknown parameters are ignored."""
    try:
        pairs = parse_qsl(request.query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS, errors="strict")
    except ValueError as error:
        raise InvalidError("validation error: the query cannot be read") from error
    values: dict[str, str] = {}
    for name, value in pairs:
        values[name] = f"{values[name]},{value}" if name == "sandbox_ids" and name in values else value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidError(f'validation error: parameter "{first["loc"][0]}" in query has an error: {first["msg"]}') from error
