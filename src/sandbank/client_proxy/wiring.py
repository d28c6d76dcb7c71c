"""Puts the client proxy together."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import structlog

from sandbank.analytics.clickhouse_metrics import MetricRepo
from sandbank.analytics.clickhouse_queries import TenantQueries
from sandbank.analytics.log_stores import choose_log_store
from sandbank.clickhouse.client import ClickHouse
from sandbank.client_proxy.adapters.gateway import Gateway
from sandbank.client_proxy.adapters.nodes import NodeResolver
from sandbank.client_proxy.adapters.orchestrators import Orchestrators
from sandbank.client_proxy.adapters.resume import Resumer
from sandbank.client_proxy.background.node_poller import NodePoller
from sandbank.client_proxy.core.cluster import Cluster
from sandbank.client_proxy.core.readiness import ProxyStatus, Readiness
from sandbank.client_proxy.endpoints.edge import EdgeApi
from sandbank.client_proxy.endpoints.edge_analytics import EdgeAnalytics
from sandbank.client_proxy.endpoints.edge_catalog_events import CatalogEvents
from sandbank.client_proxy.endpoints.edge_passthrough import PassThrough
from sandbank.client_proxy.endpoints.edge_server import EdgeServer
from sandbank.client_proxy.endpoints.health import HealthPages
from sandbank.client_proxy.endpoints.service import ClientProxyService, Release, Server
from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.discovery.settings import DiscoverySettings
from sandbank.domain.errors import InvalidError
from sandbank.proxy.address import find_address
from sandbank.proxy.local import LocalResolver
from sandbank.proxy.local_authority import LocalAuthority
from sandbank.proxy.resolver import Resolver
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer
from sandbank.proxy.tls import FreshContext, given_certificate, local_certificate
from sandbank.rpc.resume import ResumeClient
from sandbank.servicekit.public_domain import PublicDomain
from sandbank.state.cached_catalog import CachedCatalog
from sandbank.state.catalog import Catalog
from sandbank.state.redis_catalog import RedisCatalog
from sandbank.state.redis_connection import connect
from sandbank.telemetry.metrics import Meter
from sandbank.telemetry.pipeline import CLIENT_PROXY


def build(
    settings: ClientProxySettings,
    *,
    routes: RouteTable | None = None,
    catalog: Catalog | None = None,
    clickhouse: ClickHouse | None = None,
    discovery: DiscoverySettings | None = None,
) -> ClientProxyService:
    """With `routes`, the table of the node in the same process, requests take one hop; else the catalog names the node for the second.

    Without a `catalog` it is the one in Redis; `InvalidError` where no Redis is set. `clickhouse` has metrics and logs for the edge API;
    whoever made it closes it. `discovery` says how nodes are found for the edge API; without it they are those that `settings` list.
    """
    if catalog is None:
        catalog = _shared_catalog(settings)
    resolver: Resolver
    resumer: Resumer | None = None
    release: Release | None = None
    if settings.api_grpc_address:
        resumer, release = _resumer(settings.api_grpc_address, settings.resume_timeout_seconds)
    if routes is not None:
        resolver = LocalResolver(routes, first_hop=True, find=None if resumer is None else resumer.find)
    else:
        resolver = NodeResolver(
            catalog, port=settings.orchestrator_proxy_port, timeout_seconds=settings.catalog_timeout_seconds, resumer=resumer
        )
    domain = None if settings.domain is None else PublicDomain.parse(settings.domain)
    if domain is not None and settings.api_address is not None:
        resolver = Gateway(resolver, domain, *find_address(settings.api_address))
    readiness = Readiness()
    others: list[Server] = []
    if settings.health_port is not None:
        others.append(ProxyServer("client-proxy health", HealthPages(readiness), host=settings.bind, port=settings.health_port))
    if settings.edge_port is not None:
        found = discovery or DiscoverySettings(discovery=("static",))
        others.append(_edge(settings, settings.edge_port, readiness, catalog, clickhouse, found))
    traffic = ProxyServer(
        "client-proxy",
        resolver,
        host=settings.bind,
        port=settings.client_proxy_port,
        drain_seconds=settings.drain_seconds,
        tls=_tls(settings, domain),
    )
    Meter(CLIENT_PROXY).gauge("client_proxy.proxy.server.connections.open", "Connections from clients.", lambda: traffic.connection_count)
    return ClientProxyService(traffic, tuple(others), readiness, release)


def _shared_catalog(settings: ClientProxySettings) -> Catalog:
    if settings.redis_url is None:
        raise InvalidError("a client proxy of its own needs REDIS_URL: that is where it learns which node runs a sandbox")
    return CachedCatalog(RedisCatalog(connect(settings.redis_url.get_secret_value())))


def _tls(settings: ClientProxySettings, domain: PublicDomain | None) -> FreshContext | None:
    if (settings.certificate is None) != (settings.certificate_key is None):
        raise InvalidError("a certificate needs its key and a key its certificate: give both or none")
    if settings.certificate is not None and settings.certificate_key is not None:
        return given_certificate(settings.certificate, settings.certificate_key, domain)
    if settings.local_ca_dir is not None and domain is not None:
        return local_certificate(LocalAuthority(settings.local_ca_dir, domain))
    return None


def _edge(
    settings: ClientProxySettings,
    port: int,
    readiness: Readiness,
    catalog: Catalog,
    clickhouse: ClickHouse | None,
    discovery: DiscoverySettings,
) -> EdgeServer:
    addresses = discovery.sources(settings.orchestrator_addresses, _log_unreachable)
    secret = settings.edge_secret.get_secret_value()
    cluster = Cluster(time.monotonic)
    orchestrators = Orchestrators()
    nobody_named = not settings.orchestrator_addresses and discovery.discovery == ("static",)
    knows_a_node_anyway = nobody_named or settings.skip_initial_orchestrator_readiness_check

    def status() -> ProxyStatus:
        return readiness.status(knows_a_node=knows_a_node_anyway or cluster.ever_seen)

    queries = None if clickhouse is None else TenantQueries(clickhouse)
    logs = choose_log_store(settings.loki_url, settings.loki_user, settings.loki_password, queries)
    analytics = EdgeAnalytics(logs.store, None if queries is None else MetricRepo(queries), lambda: datetime.now(UTC))
    api = EdgeApi(
        status,
        lambda: readiness.terminating,
        cluster,
        orchestrators.change_status,
        catalog,
        analytics,
        node_id=settings.node_id,
        secret=secret,
    )
    streams = PassThrough(cluster, CatalogEvents(catalog), secret=secret, is_healthy=lambda: status() is not ProxyStatus.UNHEALTHY)
    poller = NodePoller(addresses, orchestrators, cluster, _log_unreachable)

    async def release() -> None:
        await orchestrators.close()
        await addresses.close()
        await logs.close()

    return EdgeServer(api.respond, streams, (poller,), host=settings.bind, port=port, release=release)


def _log_unreachable(what: str, error: BaseException) -> None:
    structlog.get_logger("sandbank.client_proxy").warning("cannot see a node", node=what, reason=str(error))


def _resumer(address: str, timeout_seconds: float) -> tuple[Resumer, Release]:
    client = ResumeClient(address)
    resumer = Resumer(client.resume, timeout_seconds)

    async def release() -> None:
        await resumer.close()
        await client.close()

    return resumer, release
