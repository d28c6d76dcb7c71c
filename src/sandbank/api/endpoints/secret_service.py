"""`sandbank.SecretService` on the internal port."""

from __future__ import annotations

from sandbank.api.core.team_secrets import SecretReader
from sandbank.contracts.secret import SecretValuesRequest, SecretValuesResponse


class SecretEndpoints:
    """Answers nodes; errors are domain errors."""

    def __init__(self, reader: SecretReader) -> None:
        self._reader = reader

    async def values(self, request: SecretValuesRequest) -> SecretValuesResponse:
        """What the sandbox's rules may carry."""
        return SecretValuesResponse(values=await self._reader.values(request.sandbox_id, request.execution_id, list(request.names)))
