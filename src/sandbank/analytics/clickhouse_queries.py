"""Questions of tenants to ClickHouse: what is wrong with it is the operator's to read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from sandbank.domain.errors import UnavailableError

_COMPLAIN_SECONDS = 60.0


class Querier(Protocol):
    """What is needed of ClickHouse."""

    async def query(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]: ...


class TenantQueries:
    """Passes questions on. An error names neither addresses nor statements to whoever asked; the log has them, once a minute at most."""

    def __init__(self, client: Querier) -> None:
        self._client = client
        self._complain_at = 0.0
        self._log = structlog.get_logger("sandbank.api")

    async def query(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """See `ClickHouse.query`."""
        try:
            return await self._client.query(sql, parameters)
        except UnavailableError as error:
            if time.monotonic() >= self._complain_at:
                self._complain_at = time.monotonic() + _COMPLAIN_SECONDS
                self._log.warning("ClickHouse does not answer", reason=error.message)
            raise UnavailableError("metrics and logs are not available at the moment, please retry") from error
