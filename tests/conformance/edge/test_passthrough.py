"""gRPC to the node through port 3001, as an API elsewhere would call it (contract data-plane §8.3)."""

from __future__ import annotations

import json

import grpc
import httpx
import pytest
from e2b import Sandbox
from google.protobuf.empty_pb2 import Empty

from sandbank.contracts.info import ServiceInfoResponse
from sandbank.contracts.orchestrator import SandboxDeleteRequest, SandboxListResponse
from tests.product.instance import Instance, wait_until


def test_a_remote_api_sees_and_ends_sandboxes(server: Instance) -> None:
    secret = json.loads((server.data_dir / "secrets.json").read_text())["edge_secret"]
    edge = f"127.0.0.1:{server.first_port + 1}"
    found = httpx.get(f"http://{edge}/v1/service-discovery", headers={"X-API-Key": secret}).json()["orchestrators"]
    metadata = (("authorization", secret), ("service-instance-id", found[0]["serviceInstanceID"]))
    sandbox = Sandbox.create(timeout=120)
    with grpc.insecure_channel(edge) as channel:
        info = channel.unary_unary("/InfoService/ServiceInfo", Empty.SerializeToString, ServiceInfoResponse.FromString)
        assert info(Empty(), metadata=metadata, timeout=20).node_id == found[0]["nodeID"]
        listing = channel.unary_unary("/SandboxService/List", Empty.SerializeToString, SandboxListResponse.FromString)
        listed = {item.sandbox_id: item for item in listing(Empty(), metadata=metadata, timeout=20).sandboxes}
        ending = (
            ("event-type", "sandbox-catalog-delete"),
            ("sandbox-id", sandbox.sandbox_id),
            ("execution-id", listed[sandbox.sandbox_id].execution_id),
        )
        delete = channel.unary_unary("/SandboxService/Delete", SandboxDeleteRequest.SerializeToString, Empty.FromString)
        delete(SandboxDeleteRequest(sandbox_id=sandbox.sandbox_id), metadata=metadata + ending, timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            listing(Empty(), metadata=metadata[1:], timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not sandbox.is_running()
    wait_until(lambda: sandbox.kill() is False, "the API has noticed")
