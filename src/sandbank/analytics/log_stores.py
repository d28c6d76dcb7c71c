"""Which store logs are read from: Loki where it is configured, else ClickHouse where there is one, else none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import SecretStr

from sandbank.analytics.clickhouse_logs import ClickHouseLogStore
from sandbank.analytics.clickhouse_queries import Querier
from sandbank.domain.log_query import LogStore
from sandbank.loki.client import LokiClient
from sandbank.loki.reader import LokiReader


async def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class LogStoreHandle:
    """`store` is None where logs are off."""

    store: LogStore | None
    close: Callable[[], Awaitable[None]] = _nothing


def choose_log_store(
    loki_url: str | None, loki_user: str | None, loki_password: SecretStr | None, clickhouse: Querier | None
) -> LogStoreHandle:
    """Nothing is opened before the first question."""
    if loki_url is not None:
        reader = LokiReader(LokiClient(loki_url, loki_user, loki_password.get_secret_value() if loki_password is not None else None))
        return LogStoreHandle(reader, reader.close)
    return LogStoreHandle(ClickHouseLogStore(clickhouse) if clickhouse is not None else None)
