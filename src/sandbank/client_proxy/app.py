"""The client proxy as a process of its own."""

from __future__ import annotations

from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build
from sandbank.servicekit.service import Service


def services(settings: ClientProxySettings | None = None) -> list[Service]:
    """What that process runs."""
    return [build(settings or ClientProxySettings())]
