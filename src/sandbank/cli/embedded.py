"""All services in one process: the orchestrator, the API that knows only this node, and the proxies for sandboxes and for images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build as build_api
from sandbank.api.wiring import database_url
from sandbank.cli.credentials import Credentials
from sandbank.cli.default_templates import BaseReady, LostTemplates, default_templates
from sandbank.cli.node import build_node
from sandbank.cli.sandbox_ender import SandboxEnder
from sandbank.cli.settings import NodeSettings
from sandbank.clickhouse.service import ClickHouseService
from sandbank.clickhouse.settings import ClickHouseSettings
from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build as build_client_proxy
from sandbank.docker_reverse_proxy.settings import DockerReverseProxySettings
from sandbank.docker_reverse_proxy.wiring import build as build_docker_reverse_proxy
from sandbank.docker_reverse_proxy.wiring import image_registry
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.servicekit.service import Service
from sandbank.state.catalog import MemoryCatalog
from sandbank.template_manager.settings import TemplateManagerSettings


def build_services(settings: NodeSettings, credentials: Credentials, revision: str, ends_sandboxes: Callable[[], bool]) -> list[Service]:
    """In the order of their start. At a stop the proxy and the API go first, so that nobody creates what is about to be ended."""
    analytics = ClickHouseSettings()
    clickhouse = analytics.connect(f"chdb://{settings.data_dir}/clickhouse")
    api, catalog = api_settings(settings, credentials), MemoryCatalog()
    docker = docker_reverse_proxy_settings(settings)
    registry = image_registry(docker)
    orchestrator, template_manager = build_node(node_settings(settings), template_manager_settings(settings), clickhouse, registry)
    return [
        *([] if clickhouse is None else [ClickHouseService(clickhouse, analytics.clickhouse_cluster)]),
        build_docker_reverse_proxy(docker, registry),  # before whoever builds from its images
        orchestrator,
        *([] if template_manager is None else [template_manager]),
        SandboxEnder(settings.orchestrator_address, ends_sandboxes),
        LostTemplates(database_url(api), settings.artifacts_dir, settings),
        build_api(
            api,
            catalog=catalog,
            clickhouse=clickhouse,
            template_manager_address=settings.orchestrator_address,
            default_templates=default_templates(settings, revision),
        ),
        build_client_proxy(
            _client_proxy_settings(settings, credentials), routes=orchestrator.routes, catalog=catalog, clickhouse=clickhouse
        ),
        BaseReady(database_url(api)),
    ]


def node_settings(settings: NodeSettings) -> OrchestratorSettings:
    """This node's orchestrator's; what `settings` do not say is read from the environment."""
    fields: dict[str, Any] = {
        "data_dir": settings.data_dir,
        "run_dir": settings.run_dir,
        "api_grpc_address": f"unix:{settings.internal_socket}",
        "orchestrator_bind": settings.orchestrator_bind,
        "orchestrator_port": settings.orchestrator_port,
        "orchestrator_proxy_port": settings.orchestrator_proxy_port,
    }
    return OrchestratorSettings(**fields)


def template_manager_settings(settings: NodeSettings) -> TemplateManagerSettings:
    """Its build service's, likewise."""
    return TemplateManagerSettings(template_manager_bind=settings.orchestrator_bind, template_manager_port=settings.template_manager_port)


def api_settings(settings: NodeSettings, credentials: Credentials) -> ApiSettings:
    """The API's, with the installation's secrets wherever the operator did not name others."""
    api = ApiSettings(
        bind=settings.bind,
        api_port=settings.api_port,
        data_dir=settings.data_dir,
        nodes=(settings.orchestrator_address,),
        internal_socket=settings.internal_socket,
        allow_seeded_credentials=not settings.is_exposed,
        domain=str(settings.public_domain),
    )
    given = api.model_fields_set
    secrets = {"admin_token": credentials.admin_token, "sandbox_access_token_hash_seed": credentials.token_hash_seed}
    update: dict[str, object] = {name: SecretStr(value) for name, value in secrets.items() if name not in given}
    if "internal_grpc_port" not in given:
        update["internal_grpc_port"] = None  # for client proxies elsewhere; the one in this process sees the node's routes
    return api.model_copy(update=update)


def docker_reverse_proxy_settings(settings: NodeSettings) -> DockerReverseProxySettings:
    """The Docker reverse proxy's; what `settings` do not say is read from the environment."""
    fields: dict[str, Any] = {
        "bind": settings.bind,
        "docker_reverse_proxy_port": settings.docker_reverse_proxy_port,
        "docker_registry_url": settings.docker_registry_url,
        "docker_store_port": settings.docker_store_port,
        "data_dir": settings.data_dir,
        "allow_seeded_credentials": not settings.is_exposed,
        "domain": str(settings.public_domain),
        "certificate": settings.certificate,
        "certificate_key": settings.certificate_key,
        "local_ca_dir": settings.local_ca_dir,
    }
    return DockerReverseProxySettings(**fields)


def _client_proxy_settings(settings: NodeSettings, credentials: Credentials) -> ClientProxySettings:
    fields: dict[str, Any] = {
        "bind": settings.bind,
        "client_proxy_port": settings.client_proxy_port,
        "edge_port": settings.edge_port,
        "api_grpc_address": f"unix:{settings.internal_socket}",
        "nodes": (settings.orchestrator_address,),
        "orchestrator_proxy_port": settings.orchestrator_proxy_port,
        "domain": str(settings.public_domain),
        "api_address": settings.api_address,
        "certificate": settings.certificate,
        "certificate_key": settings.certificate_key,
        "local_ca_dir": settings.local_ca_dir,
    }
    proxy = ClientProxySettings(**fields)
    update: dict[str, object] = {}
    if "edge_secret" not in proxy.model_fields_set:
        update["edge_secret"] = SecretStr(credentials.edge_secret)
    if "health_port" not in proxy.model_fields_set:
        update["health_port"] = None  # for a balancer in front of a proxy of its own; here the API's /health answers for everything
    return proxy.model_copy(update=update)
