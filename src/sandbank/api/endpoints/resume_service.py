"""`proxy.SandboxService` on the internal port (data-plane contract §7.4)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbank.api.core.wake import SandboxWaker, WakeRequest
from sandbank.contracts.proxy import SandboxResumeRequest, SandboxResumeResponse
from sandbank.domain.errors import InvalidError
from sandbank.rpc.resume import AGENT_TOKEN_KEY, PORT_KEY, TRAFFIC_TOKEN_KEY


class ResumeEndpoints:
    """Answers client proxies; errors are domain errors."""

    def __init__(self, waker: SandboxWaker) -> None:
        self._waker = waker

    async def resume(self, request: SandboxResumeRequest, metadata: Mapping[str, str]) -> SandboxResumeResponse:
        """The node's address."""
        port = metadata.get(PORT_KEY, "")
        if not (port.isascii() and port.isdecimal()):
            raise InvalidError(f"{PORT_KEY} is no port")
        wake = WakeRequest(
            sandbox_id=request.sandbox_id,
            port=int(port),
            traffic_token=metadata.get(TRAFFIC_TOKEN_KEY, ""),
            agent_token=metadata.get(AGENT_TOKEN_KEY, ""),
        )
        return SandboxResumeResponse(orchestrator_ip=await self._waker.wake(wake))
