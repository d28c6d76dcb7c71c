"""The API as a process of its own."""

from __future__ import annotations

from sandbank.api.adapters.offered_templates import Offer, offered_templates
from sandbank.api.core.default_templates import DefaultTemplate
from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build
from sandbank.clickhouse.service import ClickHouseService
from sandbank.clickhouse.settings import ClickHouseSettings
from sandbank.discovery.settings import DiscoverySettings
from sandbank.servicekit.service import Service
from sandbank.version import ENVD_VERSION


def services(settings: ApiSettings | None = None) -> list[Service]:
    """What that process runs, in the order of their start."""
    analytics = ClickHouseSettings()
    clickhouse = analytics.connect()
    others: list[Service] = [] if clickhouse is None else [ClickHouseService(clickhouse, analytics.clickhouse_cluster)]
    settings = settings or ApiSettings()
    return [*others, build(settings, clickhouse=clickhouse, default_templates=_offered(settings), discovery=DiscoverySettings())]


def _offered(settings: ApiSettings) -> list[DefaultTemplate]:
    """What is built anew with the next agent: which image stands in for `base` is the builders' business, and theirs to notice."""
    if not settings.default_templates:
        return []
    offer = Offer(settings.base_vcpu, settings.base_memory_mib, settings.base_disk_mib, settings.code_interpreter)
    return offered_templates(offer, ENVD_VERSION)
