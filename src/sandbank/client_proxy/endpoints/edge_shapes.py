"""JSON of the edge API (contract data-plane §8.3, §8.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from sandbank.client_proxy.core.cluster import ClusterNode
from sandbank.client_proxy.endpoints.edge_message import Request
from sandbank.domain.errors import InvalidError
from sandbank.state.catalog import CatalogEntry

ORCHESTRATOR = "orchestrator"


class NodeReference(BaseModel):
    """The body that says which node is meant."""

    instance_id: str = Field(alias="serviceInstanceID", min_length=1, max_length=256)
    service_type: Literal["orchestrator"] = Field(alias="serviceType")


def read_reference(request: Request) -> NodeReference:
    """`InvalidError` for whatever the schema does not allow; unknown fields are ignored."""
    if not request.body.strip():
        raise InvalidError("validation error: request body has an error: value is required but missing")
    if request.fields.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        raise InvalidError("validation error: request body has an error: header Content-Type must be application/json")
    try:
        return NodeReference.model_validate_json(request.body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"/{part}" for part in first["loc"])
        at = f' at "{where}"' if where else ""
        raise InvalidError(f"validation error: request body has an error: doesn't match schema{at}: {first['msg']}") from error


def time_shape(at: datetime) -> str:
    """RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def node_shape(node: ClusterNode) -> dict[str, Any]:
    """`ClusterNode`."""
    return {**_common(node), "serviceType": ORCHESTRATOR}


def orchestrator_shape(node: ClusterNode) -> dict[str, Any]:
    """`ClusterOrchestratorNode`."""
    return {**_common(node), "roles": list(node.roles)}


def _common(node: ClusterNode) -> dict[str, Any]:
    return {
        "nodeID": node.node_id,
        "serviceInstanceID": node.instance_id,
        "serviceVersion": node.version,
        "serviceVersionCommit": node.commit,
        "serviceStartedAt": time_shape(node.started_at),
        "serviceStatus": node.status.value,
        "serviceHost": node.host,
    }


def route_shape(entry: CatalogEntry) -> dict[str, Any]:
    """A route, for operators."""
    return {
        "sandboxID": entry.sandbox_id,
        "executionID": entry.execution_id,
        "orchestratorID": entry.orchestrator_id,
        "orchestratorIP": entry.orchestrator_ip,
        "sandboxStartedAt": time_shape(entry.sandbox_started_at),
        "sandboxMaxLengthInHours": entry.max_length_hours,
    }
