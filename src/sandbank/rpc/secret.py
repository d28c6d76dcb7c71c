"""The API's internal service that hands secrets to nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sandbank.contracts.secret import SecretValuesRequest, SecretValuesResponse
from sandbank.rpc.channel import Channel
from sandbank.rpc.server import Method, RpcServer


class SecretHandler(Protocol):
    """What answers `sandbank.SecretService`; raises domain errors."""

    async def values(self, request: SecretValuesRequest) -> SecretValuesResponse: ...


def add_secret_service(server: RpcServer, handler: SecretHandler) -> None:
    """Let `handler` answer `/sandbank.SecretService/Values`."""
    server.add("sandbank.SecretService", {"Values": Method(SecretValuesRequest, handler.values)})


class SecretClient:
    """Calls the API. Raises `sandbank.domain.errors` only; a cancelled call is cancelled at the API as well."""

    def __init__(self, address: str) -> None:
        self._channel = Channel(address, "API")

    async def values(self, sandbox_id: str, execution_id: str, names: Sequence[str], timeout_seconds: float) -> dict[str, str]:
        """By name, those that there are. `NotFoundError` for a sandbox that the API does not know, `DeniedError` for names that are not
        in its rules.
        """
        request = SecretValuesRequest(sandbox_id=sandbox_id, execution_id=execution_id, names=names)
        answer = await self._channel.call("/sandbank.SecretService/Values", request, SecretValuesResponse, timeout_seconds)
        return dict(answer.values)

    async def close(self) -> None:
        """Break off what is in flight. Idempotent."""
        await self._channel.close()
