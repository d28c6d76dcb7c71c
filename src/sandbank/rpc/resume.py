"""The API's internal service: waking a sandbox because there is traffic for it (contract data-plane §7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sandbank.contracts.proxy import SandboxResumeRequest, SandboxResumeResponse
from sandbank.rpc.channel import Channel
from sandbank.rpc.server import Method, RpcServer

PORT_KEY = "e2b-sandbox-request-port"
TRAFFIC_TOKEN_KEY = "e2b-traffic-access-token"  # noqa: S105  # a name
AGENT_TOKEN_KEY = "e2b-envd-access-token"  # noqa: S105  # a name


@dataclass(frozen=True, slots=True)
class Knock:
    """A request that found its sandbox nowhere: the port it is for and the tokens it carries, empty where it has none."""

    sandbox_id: str
    port: int
    traffic_token: str = ""
    agent_token: str = ""


class ResumeHandler(Protocol):
    """What answers `proxy.SandboxService`; raises domain errors."""

    async def resume(self, request: SandboxResumeRequest, metadata: Mapping[str, str]) -> SandboxResumeResponse: ...


def add_resume_service(server: RpcServer, handler: ResumeHandler) -> None:
    """Let `handler` answer `/proxy.SandboxService/ResumeSandbox`."""
    server.add("proxy.SandboxService", {"ResumeSandbox": Method(SandboxResumeRequest, handler.resume, wants_metadata=True)})


class ResumeClient:
    """Calls the API. Raises `sandbank.domain.errors` only; a cancelled call is cancelled at the API as well."""

    def __init__(self, address: str) -> None:
        self._channel = Channel(address, "API")

    async def resume(self, knock: Knock, timeout_seconds: float) -> str:
        """The address of the node where the sandbox runs now.

        `NotFoundError`, `DeniedError`, `ConflictError`, `ExhaustedError` are the API's answers; the rest are failures.
        """
        metadata = [(PORT_KEY, str(knock.port))]
        if knock.traffic_token:
            metadata.append((TRAFFIC_TOKEN_KEY, knock.traffic_token))
        if knock.agent_token:
            metadata.append((AGENT_TOKEN_KEY, knock.agent_token))
        request = SandboxResumeRequest(sandbox_id=knock.sandbox_id)
        response = await self._channel.call(
            "/proxy.SandboxService/ResumeSandbox", request, SandboxResumeResponse, timeout_seconds, metadata
        )
        return response.orchestrator_ip

    async def close(self) -> None:
        """Break off what is in flight. Idempotent."""
        await self._channel.close()
