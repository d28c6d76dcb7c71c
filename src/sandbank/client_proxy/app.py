"""The client proxy as a process of its own."""

from __future__ import annotations

from sandbank.clickhouse.service import ClickHouseService
from sandbank.clickhouse.settings import ClickHouseSettings
from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build
from sandbank.discovery.settings import DiscoverySettings
from sandbank.servicekit.service import Service


def services(settings: ClientProxySettings | None = None) -> list[Service]:
    """What that process runs. Analytics are read only: whose version the tables are of must not matter to traffic."""
    clickhouse = ClickHouseSettings().connect()
    others: list[Service] = [] if clickhouse is None else [ClickHouseService(clickhouse, migrate=False)]
    return [*others, build(settings or ClientProxySettings(), clickhouse=clickhouse, discovery=DiscoverySettings())]
