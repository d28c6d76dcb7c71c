"""All services in one process: the orchestrator, the API that knows only this node, and the client proxy that shares its routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build as build_api
from sandbank.cli.credentials import Credentials
from sandbank.cli.sandbox_ender import SandboxEnder
from sandbank.cli.settings import NodeSettings
from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.service import ClickHouseService
from sandbank.clickhouse.settings import ClickHouseSettings
from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build as build_client_proxy
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.orchestrator.wiring import OrchestratorService
from sandbank.orchestrator.wiring import build as build_orchestrator_service
from sandbank.servicekit.service import Service
from sandbank.state.catalog import MemoryCatalog


def build_services(settings: NodeSettings, credentials: Credentials, ends_sandboxes: Callable[[], bool]) -> list[Service]:
    """In the order of their start. At a stop the proxy and the API go first, so that nobody creates what is about to be ended."""
    analytics = ClickHouseSettings()
    clickhouse = analytics.connect(f"chdb://{settings.data_dir}/clickhouse")
    orchestrator = build_orchestrator(settings, clickhouse)
    catalog = MemoryCatalog()
    return [
        *([] if clickhouse is None else [ClickHouseService(clickhouse, analytics.clickhouse_cluster)]),
        orchestrator,
        SandboxEnder(settings.orchestrator_address, ends_sandboxes),
        build_api(api_settings(settings, credentials), catalog=catalog, clickhouse=clickhouse),
        build_client_proxy(
            _client_proxy_settings(settings, credentials), routes=orchestrator.routes, catalog=catalog, clickhouse=clickhouse
        ),
    ]


def build_orchestrator(settings: NodeSettings, clickhouse: ClickHouse | None = None) -> OrchestratorService:
    """This node's orchestrator; what `settings` do not say is read from the environment."""
    fields: dict[str, Any] = {
        "data_dir": settings.data_dir,
        "run_dir": settings.run_dir,
        "api_grpc_address": f"unix:{settings.internal_socket}",
        "orchestrator_bind": settings.orchestrator_bind,
        "orchestrator_port": settings.orchestrator_port,
        "orchestrator_proxy_port": settings.orchestrator_proxy_port,
    }
    return build_orchestrator_service(OrchestratorSettings(**fields), clickhouse=clickhouse)


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
