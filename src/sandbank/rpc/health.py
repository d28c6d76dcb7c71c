"""Asking `grpc.health.v1` of a server."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from sandbank.rpc.channel import Channel


async def is_serving(address: str, peer: str, timeout_seconds: float) -> bool:
    """Whether the server at `host:port` says that it serves; `peer` is what errors call it. `UnavailableError`, `DeadlineError`."""
    channel = Channel(address, peer)
    try:
        answer = await channel.call(
            "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse, timeout_seconds
        )
    finally:
        await channel.close()
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
