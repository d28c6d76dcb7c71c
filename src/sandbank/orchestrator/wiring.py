"""Names the concrete parts of a node and puts them together."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from sandbank.aiokit.tasks import TaskGroup, finish
from sandbank.artifacts.builds import BuildStore
from sandbank.artifacts.remote import Remote
from sandbank.clickhouse.client import ClickHouse
from sandbank.domain.errors import InvalidError
from sandbank.orchestrator.adapters.agent_starts import AgentStarts
from sandbank.orchestrator.adapters.analytics import Analytics
from sandbank.orchestrator.adapters.api_secrets import ApiSecrets
from sandbank.orchestrator.adapters.artifact_storage import ArtifactStorage
from sandbank.orchestrator.adapters.event_feed import EventFeed
from sandbank.orchestrator.adapters.log_sinks import choose_outlet
from sandbank.orchestrator.adapters.machine import Machine, processor
from sandbank.orchestrator.adapters.no_artifacts import NoArtifacts
from sandbank.orchestrator.adapters.node_logs import LoggedRoutes, NodeLogs
from sandbank.orchestrator.adapters.observed import observe
from sandbank.orchestrator.adapters.proxy_routes import ProxyRoutes
from sandbank.orchestrator.adapters.record_directory import RecordDirectory
from sandbank.orchestrator.adapters.volume_directory import VolumeDirectory
from sandbank.orchestrator.background.expiry_guard import guard_expiry
from sandbank.orchestrator.background.load_sampler import LoadSampler
from sandbank.orchestrator.background.usage_sampler import UsageSampler
from sandbank.orchestrator.core.adoption import adopt
from sandbank.orchestrator.core.create import Creation
from sandbank.orchestrator.core.egress_update import EgressUpdate
from sandbank.orchestrator.core.events import EventFan
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.pause import Pausing
from sandbank.orchestrator.core.removal import Removal
from sandbank.orchestrator.core.spares import Spares, SparesWish
from sandbank.orchestrator.core.status import NodeStatus, StatusBoard
from sandbank.orchestrator.endpoints.info_service import InfoEndpoints, NodeIdentity
from sandbank.orchestrator.endpoints.sandbox_service import SandboxEndpoints
from sandbank.orchestrator.endpoints.volume_service import VolumeEndpoints
from sandbank.orchestrator.settings import BUILDS, RUNS, OrchestratorSettings
from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
from sandbank.rpc.orchestrator import add_info_service, add_sandbox_service
from sandbank.rpc.server import RpcServer
from sandbank.rpc.volume import add_volume_service
from sandbank.runtime.driver import Driver, SecretSource
from sandbank.runtime.linux.memory import memory_bytes
from sandbank.servicekit.ports import require_free
from sandbank.state.redis_connection import connect
from sandbank.state.redis_event_stream import RedisEventStream
from sandbank.telemetry.metrics import Meter
from sandbank.telemetry.pipeline import ORCHESTRATOR
from sandbank.telemetry.tracing import Tracer
from sandbank.version import VERSION

DriverMaker = Callable[[OrchestratorSettings, SecretSource], Driver]


def _namespaces(settings: OrchestratorSettings, secrets: SecretSource) -> Driver:
    # Imported here: a node with another driver needs neither its code nor its libraries.
    from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
    from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
    from sandbank.runtime.snapshot.criu_program import find_criu

    criu = find_criu(settings.criu)
    if criu.problem:
        structlog.get_logger("sandbank.orchestrator").warning("memory of sandboxes cannot be saved", reason=criu.problem, fix=criu.fix)
    options = NamespaceSettings(
        egress_ca_bundle=settings.egress_ca_bundle, criu=criu.usable_path, frozen_share=settings.paused_memory_percent / 100
    )
    return NamespaceDriver(settings.layout, options, secrets)


DRIVERS: dict[str, DriverMaker] = {"namespaces": _namespaces}

_CLOSE_SECONDS = 5.0
_PROXY_IDLE_SECONDS = 630.0  # contract data-plane §7.6: longer than the first hop keeps its connections


@dataclass(frozen=True, slots=True)
class Parts:
    """A node's parts, not yet running."""

    settings: OrchestratorSettings
    driver: Driver
    routes: RouteTable
    proxy_routes: LoggedRoutes
    records: RecordDirectory
    status: StatusBoard
    inventory: Inventory
    removal: Removal
    removals: TaskGroup
    artifacts: ArtifactStorage | NoArtifacts
    sampler: LoadSampler
    rpc: RpcServer
    proxy: ProxyServer
    logs: NodeLogs
    secrets: ApiSecrets
    analytics: Analytics | None
    feed: EventFeed | None


class OrchestratorService:
    """One node: its sandboxes, gRPC for the API, a proxy for traffic. Sandboxes outlive it and are adopted by the next one."""

    name = "orchestrator"

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._log = structlog.get_logger("sandbank.orchestrator")
        self._roots = TaskGroup(self.name, _log_failure)
        self._root_tasks: set[asyncio.Task[Any]] = set()
        self._port = parts.settings.orchestrator_port

    @property
    def routes(self) -> RouteTable:
        """The sandboxes of this node that take traffic."""
        return self._parts.routes

    @property
    def driver(self) -> Driver:
        """What runs the sandboxes."""
        return self._parts.driver

    @property
    def rpc(self) -> RpcServer:
        """Where other services of the node may be added before it is started."""
        return self._parts.rpc

    @property
    def artifacts(self) -> ArtifactStorage | NoArtifacts:
        """What it shares with other nodes."""
        return self._parts.artifacts

    @property
    def logs(self) -> NodeLogs:
        """Where lines of sandboxes and builds go."""
        return self._parts.logs

    @property
    def driver_name(self) -> str:
        """What the API reports about where a sandbox runs."""
        return self._parts.driver.name

    @property
    def address(self) -> str:
        """`host:port` of gRPC; settled once started when the settings left the port to the kernel."""
        return f"{_bracketed(self._parts.settings.orchestrator_bind)}:{self._port}"

    @property
    def proxy_port(self) -> int:
        """Port of the sandbox proxy."""
        return self._parts.proxy.port

    async def start(self) -> None:
        """Adopt what runs, then serve. Ports are looked at first: a second orchestrator must not touch the first one's sandboxes."""
        parts, settings = self._parts, self._parts.settings
        require_free(settings.orchestrator_bind, settings.orchestrator_port, "the orchestrator")
        require_free(settings.orchestrator_bind, settings.orchestrator_proxy_port, "the sandbox proxy")
        parts.logs.start()
        await adopt(parts.driver, parts.inventory, parts.records, parts.proxy_routes, parts.removal)
        parts.artifacts.start()
        await parts.proxy.start()
        self._port = await parts.rpc.start(self.address)
        self._root_tasks = {
            self._roots.start("rpc", parts.rpc.wait()),
            self._roots.start("proxy", parts.proxy.wait()),
            self._roots.start("load_sampler", parts.sampler.run()),
            *self._measure(),
            *([] if parts.feed is None else [self._roots.start("event_feed", parts.feed.run())]),
            self._roots.start("expiry_guard", guard_expiry(parts.inventory, parts.removal, _now)),
        }
        self._log.info("node is ready", address=self.address, driver=self.driver_name, sandboxes=len(parts.inventory.running))

    def _measure(self) -> list[asyncio.Task[Any]]:
        parts = self._parts
        if parts.analytics is None:
            self._log.info("metrics and events of sandboxes are off", reason="CLICKHOUSE_CONNECTION_STRING is not set")
            return []
        usage = UsageSampler(parts.inventory, parts.driver, parts.analytics, _now)
        return [self._roots.start("analytics", parts.analytics.run()), self._roots.start("usage_sampler", usage.run())]

    async def wait(self) -> None:
        """Return, or raise, when one of the root tasks has ended."""
        ended, _ = await asyncio.wait(self._root_tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    async def stop(self) -> None:
        """Refuse creates, finish calls and removals in flight, let go of the sandboxes. Cancelled, it only stops being patient."""
        parts, grace_seconds = self._parts, self._parts.settings.stop_grace_seconds
        parts.status.change(NodeStatus.DRAINING)
        try:
            await parts.rpc.stop(grace_seconds)
            await parts.proxy.stop()
            await parts.removals.drain(parts.settings.removal_grace_seconds)
        finally:
            await finish(self._let_go())

    async def _let_go(self) -> None:
        parts = self._parts
        tasks = (self._roots.close(), parts.removals.close())
        quick = [(step, _CLOSE_SECONDS) for step in (parts.rpc.stop(0), parts.proxy.stop(), *tasks, *self._last_words())]
        # How long the last takes is up to what tenants wrote: files of ended sandboxes are removed.
        for step, seconds in (*quick, (parts.driver.close(), parts.settings.removal_grace_seconds)):
            try:
                async with asyncio.timeout(seconds):
                    await step
            except Exception as error:  # noqa: BLE001  # cleanup step: the next one has to run
                self._log.error("failed to stop a part", error=repr(error))

    def _last_words(self) -> list[Coroutine[Any, Any, None]]:
        parts = self._parts
        optional = [part.stop() for part in (parts.analytics, parts.feed) if part is not None]
        return [*optional, parts.artifacts.stop(), parts.logs.stop(), parts.secrets.close()]


def build(
    settings: OrchestratorSettings, *, clickhouse: ClickHouse | None = None, drivers: dict[str, DriverMaker] | None = None
) -> OrchestratorService:
    """A node that `settings` describe, not yet started. `InvalidError` for a driver that does not exist.

    `clickhouse` takes metrics, events and logs; whoever made it closes it.
    """
    make_driver = (drivers or DRIVERS).get(settings.driver)
    if make_driver is None:
        raise InvalidError(f"there is no driver {settings.driver!r}; known: {', '.join(sorted(drivers or DRIVERS))}")
    _, memory_total_bytes = memory_bytes()
    inventory = Inventory(settings.effective_max_sandboxes(memory_total_bytes))
    secrets = ApiSecrets(settings.api_grpc_address, inventory)
    driver = make_driver(settings, secrets)
    routes = RouteTable(max_connections=settings.sandbox_max_connections)
    logs = _build_logs(settings, driver, clickhouse)
    proxy_routes = LoggedRoutes(ProxyRoutes(routes, driver), logs)
    records = RecordDirectory(settings.data_dir / "records")
    status = StatusBoard(_now)
    removals = TaskGroup("orchestrator", _log_failure)
    analytics = None if clickhouse is None else Analytics(clickhouse)
    feed = None if settings.redis_url is None else EventFeed(RedisEventStream(connect(settings.redis_url.get_secret_value())))
    events = EventFan([listener for listener in (analytics, feed, logs) if listener is not None])
    removal = Removal(driver, inventory, records, proxy_routes, removals, events, _now)
    volumes = VolumeDirectory(settings.volumes_dir or settings.data_dir / "sandboxes" / ".volumes", settings.volume_mib)
    builds = BuildStore(settings.data_dir / "artifacts")
    artifacts = _artifacts(settings, driver, builds)
    creation = Creation(
        driver=driver,
        inventory=inventory,
        status=status,
        builds=builds,
        artifacts=artifacts,
        starts=AgentStarts(driver),
        spares=Spares(driver, SparesWish.parse(settings.spare_sandboxes), removals),
        records=records,
        routes=proxy_routes,
        removal=removal,
        events=events,
        volume_directory=volumes.path_of,
        clock=_now,
        max_starts=settings.effective_start_concurrency,
    )
    sampler = LoadSampler(Machine(settings.data_dir))
    rpc = RpcServer(_log_failure, Tracer(ORCHESTRATOR))
    egress = EgressUpdate(driver, inventory, records)
    pausing = Pausing(
        driver=driver,
        inventory=inventory,
        records=records,
        routes=proxy_routes,
        tasks=removals,
        events=events,
        clock=_now,
        artifacts=artifacts,
        builds=builds,
    )
    add_sandbox_service(
        rpc, SandboxEndpoints(settings.node_id, driver.name, inventory, records, creation, removal, pausing, egress, events, _now)
    )
    add_volume_service(rpc, VolumeEndpoints(volumes))
    add_info_service(rpc, InfoEndpoints(_identity(settings), status, inventory, sampler.latest))
    limits = ProxyLimits(idle_timeout_seconds=_PROXY_IDLE_SECONDS)
    proxy = sandbox_proxy(routes, host=settings.orchestrator_bind, port=settings.orchestrator_proxy_port, limits=limits)
    observe(Meter(ORCHESTRATOR), inventory, lambda: proxy.connection_count)
    return OrchestratorService(
        Parts(
            settings,
            driver,
            routes,
            proxy_routes,
            records,
            status,
            inventory,
            removal,
            removals,
            artifacts,
            sampler,
            rpc,
            proxy,
            logs,
            secrets,
            analytics,
            feed,
        )
    )


def _artifacts(settings: OrchestratorSettings, driver: Driver, builds: BuildStore) -> ArtifactStorage | NoArtifacts:
    if not settings.artifacts_url:
        return NoArtifacts()
    return ArtifactStorage(Remote.open(settings.artifacts_url), driver, builds, settings.data_dir, _log_failure)


def _build_logs(settings: OrchestratorSettings, driver: Driver, clickhouse: ClickHouse | None) -> NodeLogs:
    password = settings.loki_password.get_secret_value() if settings.loki_password is not None else None
    return NodeLogs(driver.listen, choose_outlet(settings.loki_url, settings.loki_user, password, clickhouse))


def _identity(settings: OrchestratorSettings) -> NodeIdentity:
    return NodeIdentity(
        node_id=settings.node_id,
        service_id=uuid.uuid4().hex,
        version=VERSION,
        commit=VERSION,
        started_at=_now(),
        processor=processor(),
        labels=settings.node_labels,
        runs_sandboxes=RUNS in settings.roles,
        builds_templates=BUILDS in settings.roles,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _log_failure(task: str, error: BaseException) -> None:
    structlog.get_logger("sandbank.orchestrator").error("failed", task=task, exc_info=error)
