"""The Docker reverse proxy as a process of its own."""

from __future__ import annotations

from sandbank.docker_reverse_proxy.settings import DockerReverseProxySettings
from sandbank.docker_reverse_proxy.wiring import build
from sandbank.servicekit.service import Service


def services(settings: DockerReverseProxySettings | None = None) -> list[Service]:
    """What that process runs."""
    return [build(settings or DockerReverseProxySettings())]
