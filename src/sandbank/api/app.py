"""The API as a process of its own."""

from __future__ import annotations

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build
from sandbank.clickhouse.service import ClickHouseService
from sandbank.clickhouse.settings import ClickHouseSettings
from sandbank.servicekit.service import Service


def services(settings: ApiSettings | None = None) -> list[Service]:
    """What that process runs, in the order of their start."""
    analytics = ClickHouseSettings()
    clickhouse = analytics.connect()
    others: list[Service] = [] if clickhouse is None else [ClickHouseService(clickhouse, analytics.clickhouse_cluster)]
    return [*others, build(settings or ApiSettings(), clickhouse=clickhouse)]
