"""A node's services: the orchestrator, and the build service beside it if the node has that role."""

from __future__ import annotations

from urllib.parse import urlsplit

from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.service import ClickHouseService
from sandbank.clickhouse.settings import ClickHouseSettings
from sandbank.docker_reverse_proxy.settings import DockerReverseProxySettings
from sandbank.docker_reverse_proxy.wiring import ImageRegistry, image_registry
from sandbank.orchestrator.settings import BUILDS, OrchestratorSettings
from sandbank.orchestrator.wiring import OrchestratorService
from sandbank.orchestrator.wiring import build as build_orchestrator
from sandbank.servicekit.service import Service
from sandbank.template_manager.adapters.image_bases import PushedImages
from sandbank.template_manager.app import NodeParts, TemplateManagerService, build_service
from sandbank.template_manager.settings import TemplateManagerSettings, TemplateSettings


def build_node(
    settings: OrchestratorSettings,
    templates: TemplateManagerSettings,
    clickhouse: ClickHouse | None,
    registry: ImageRegistry | None = None,
) -> tuple[OrchestratorService, TemplateManagerService | None]:
    """In the order of their start, which is the only one that works: the build service uses the orchestrator's driver and port.

    `registry` is where images are that Docker has pushed.
    """
    orchestrator = build_orchestrator(settings, clickhouse=clickhouse)
    if BUILDS not in settings.roles:
        return orchestrator, None
    parts = NodeParts(
        data_dir=settings.data_dir,
        driver=orchestrator.driver,
        rpc=orchestrator.rpc,
        fetch=orchestrator.artifacts.fetch_soon,
        share=orchestrator.artifacts.share,
        write_log=orchestrator.logs.write,
        pushed=None if registry is None else _pushed(registry),
    )
    return orchestrator, build_service(parts, templates, TemplateSettings())


def services(only: str | None = None) -> list[Service]:
    """What a node of its own runs, in the order of their start; with `only` that role, whatever the settings say."""
    analytics = ClickHouseSettings()
    clickhouse = analytics.connect()
    others: list[Service] = [] if clickhouse is None else [ClickHouseService(clickhouse, analytics.clickhouse_cluster)]
    docker = DockerReverseProxySettings()
    registry = None if docker.docker_registry_url is None else image_registry(docker)
    settings = OrchestratorSettings() if only is None else OrchestratorSettings(orchestrator_services=only)
    orchestrator, template_manager = build_node(settings, TemplateManagerSettings(), clickhouse, registry)
    return [*others, orchestrator, *([] if template_manager is None else [template_manager])]


def _pushed(registry: ImageRegistry) -> PushedImages:
    url = urlsplit(registry.url)
    return PushedImages(url.netloc, url.path.strip("/"), registry.username, registry.password, is_plain=url.scheme == "http")
