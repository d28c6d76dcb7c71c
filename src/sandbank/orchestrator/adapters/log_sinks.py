"""Which store the node's log lines go to: Loki where it is configured, else ClickHouse where there is one, else none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandbank.loki.client import LokiClient
from sandbank.loki.push import LokiWriter
from sandbank.orchestrator.adapters.clickhouse_logs import ClickHouseLogWriter, Inserter
from sandbank.orchestrator.adapters.log_shipper import LogShipper


async def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class LogOutlet:
    """A store with what keeps lines on their way there; `shipper` is None where logs are off."""

    name: str
    shipper: LogShipper | None
    close: Callable[[], Awaitable[None]] = _nothing


def choose_outlet(loki_url: str | None, loki_user: str | None, loki_password: str | None, clickhouse: Inserter | None) -> LogOutlet:
    """Nothing is opened before the first line."""
    if loki_url is not None:
        client = LokiClient(loki_url, loki_user, loki_password)
        return LogOutlet("Loki", LogShipper(LokiWriter(client).ship), client.close)
    if clickhouse is not None:
        return LogOutlet("ClickHouse", LogShipper(ClickHouseLogWriter(clickhouse).ship))
    return LogOutlet("none", None)
