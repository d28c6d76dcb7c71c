"""`/nodes` (rest-api contract §17): operators only."""

from __future__ import annotations

import uuid
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.administration import NodeState
from sandbank.api.core.pagination import rfc3339
from sandbank.api.endpoints.http import body, models
from sandbank.api.endpoints.http.caller import CallingOperator, operations
from sandbank.domain.errors import InvalidError
from sandbank.domain.uuid_text import parse_uuid

router = APIRouter()

# All nodes are of one cluster, which has E2B's ID for the local one.
_CLUSTER_ID = str(uuid.UUID(int=0))


@router.get("/nodes")
async def list_nodes(
    request: Request, _operator: CallingOperator, cluster_id: Annotated[str | None, Query(alias="clusterID")] = None
) -> Response:
    """All nodes that have ever answered this API, by ID."""
    if not _is_ours(cluster_id, 'parameter "clusterID" in query'):
        return JSONResponse([])
    return JSONResponse([_shape(node) for node in operations(request).nodes.nodes()])


@router.get("/nodes/{node_id}")
async def get_node(
    request: Request, _operator: CallingOperator, node_id: str, cluster_id: Annotated[str | None, Query(alias="clusterID")] = None
) -> Response:
    """One node."""
    _is_ours(cluster_id, 'parameter "clusterID" in query')
    shape = _shape(operations(request).nodes.node(unquote(node_id)))
    del shape["sandboxStartingCount"]
    return JSONResponse(shape)


@router.post("/nodes/{node_id}", status_code=204, openapi_extra=models.request_body(models.NodeStatusChange))
async def change_status(request: Request, _operator: CallingOperator, node_id: str) -> Response:
    """Drain a node, make it a spare, put it back to work. What runs on it goes on in any case."""
    sent = await body.read(request, models.NodeStatusChange)
    _is_ours(sent.cluster_id, "clusterID")
    await operations(request).nodes.set_status(unquote(node_id), sent.status)
    return Response(status_code=204)


def _is_ours(cluster_id: str | None, where: str) -> bool:
    if cluster_id is None:
        return True
    parsed = parse_uuid(cluster_id)
    if parsed is None:
        raise InvalidError(f"validation error: {where} has an error: not a UUID")
    return str(parsed) == _CLUSTER_ID


def _shape(node: NodeState) -> dict[str, Any]:
    return {
        "version": node.version,
        "commit": node.commit,
        "id": node.node_id,
        "serviceInstanceID": node.instance_id,
        "clusterID": _CLUSTER_ID,
        "machineInfo": {
            "cpuFamily": node.cpu_family,
            "cpuModel": node.cpu_model,
            "cpuModelName": node.cpu_model_name,
            "cpuArchitecture": node.cpu_architecture,
        },
        "status": node.status,
        "statusChangedAt": rfc3339(node.status_changed_at),
        "sandboxCount": node.sandbox_count,
        "metrics": {
            "allocatedCPU": node.allocated_cpu,
            "cpuPercent": node.cpu_percent,
            "cpuCount": node.cpu_count,
            "allocatedMemoryBytes": node.allocated_memory_bytes,
            "memoryUsedBytes": node.memory_used_bytes,
            "memoryTotalBytes": node.memory_total_bytes,
            # Sandboxes are no virtual machines: none of their memory is in huge pages.
            "hugePagesTotal": 0,
            "hugePagesUsed": 0,
            "hugePagesReserved": 0,
            "hugePageSizeBytes": 0,
            "disks": [
                {
                    "mountPoint": disk.mount_point,
                    "device": disk.device,
                    "filesystemType": disk.filesystem_type,
                    "usedBytes": disk.used_bytes,
                    "totalBytes": disk.total_bytes,
                }
                for disk in node.disks
            ],
        },
        "createSuccesses": node.create_successes,
        "createFails": node.create_fails,
        "sandboxStartingCount": node.starting_count,
    }
