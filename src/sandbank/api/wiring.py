"""Which concrete things the API consists of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.analytics.clickhouse_metrics import MetricRepo
from sandbank.analytics.clickhouse_queries import TenantQueries
from sandbank.analytics.log_stores import choose_log_store
from sandbank.api.adapters.account_credentials import AccountCredentials
from sandbank.api.adapters.account_repo import AccountRepo
from sandbank.api.adapters.builder_pool import BuilderPool
from sandbank.api.adapters.catalog_routes import CatalogRoutes
from sandbank.api.adapters.default_template_repo import DefaultTemplateRepo
from sandbank.api.adapters.identity_provider import IdentityProvider, ProviderSettings
from sandbank.api.adapters.identity_tokens import IdentityTokens
from sandbank.api.adapters.name_lookup import resolve
from sandbank.api.adapters.node_pool import NodePool
from sandbank.api.adapters.secret_keys import FixedKeys, KeyFile, SecretSealer
from sandbank.api.adapters.secret_repo import SecretRepo
from sandbank.api.adapters.signing_key import SigningKey
from sandbank.api.adapters.snapshot_repo import SnapshotRepo
from sandbank.api.adapters.snapshot_template_repo import SnapshotTemplateRepo
from sandbank.api.adapters.stores import choose_stores
from sandbank.api.adapters.team_metrics import TeamMetrics
from sandbank.api.adapters.template_build_repo import TemplateBuildRepo
from sandbank.api.adapters.template_directory_repo import TemplateDirectoryRepo
from sandbank.api.adapters.template_removal_repo import TemplateRemovalRepo
from sandbank.api.adapters.template_repo import TemplateRepo
from sandbank.api.adapters.template_shelf_repo import TemplateShelfRepo
from sandbank.api.adapters.template_tag_repo import TemplateTagRepo
from sandbank.api.adapters.usage_repo import UsageRepo
from sandbank.api.adapters.volume_nodes import VolumeNodes
from sandbank.api.adapters.volume_repo import VolumeRepo
from sandbank.api.adapters.volume_tokens import VolumeTokenMint
from sandbank.api.background.account_watcher import AccountWatcher
from sandbank.api.background.build_watcher import BuildWatcher
from sandbank.api.background.default_template_builder import DefaultTemplateBuilder
from sandbank.api.background.evictor import Evictor
from sandbank.api.background.node_watcher import NodeWatcher
from sandbank.api.background.paused_retention import PausedRetention
from sandbank.api.background.service import ApiService
from sandbank.api.background.snapshot_collector import SnapshotCollector
from sandbank.api.background.usage_flusher import UsageFlusher
from sandbank.api.core.access_keys import AccessTokens, ApiKeys
from sandbank.api.core.administration import NodeAdministration, TeamAdministration
from sandbank.api.core.authentication import Authenticator
from sandbank.api.core.build_log_store import BuildLogStore
from sandbank.api.core.checkpoint import Checkpointer
from sandbank.api.core.create import SandboxCreator
from sandbank.api.core.default_templates import DefaultTemplate, DefaultTemplates
from sandbank.api.core.expire import SandboxExpirer
from sandbank.api.core.extend import SandboxExtender
from sandbank.api.core.fork import SandboxForker
from sandbank.api.core.idempotency import IdempotentCreates
from sandbank.api.core.kill import SandboxKiller
from sandbank.api.core.launch import SandboxLauncher
from sandbank.api.core.listing import SandboxLister
from sandbank.api.core.login import TeamLister
from sandbank.api.core.logs import LogReader
from sandbank.api.core.metrics import MetricReader
from sandbank.api.core.network_options import NetworkChecker, NetworkFeatures
from sandbank.api.core.network_update import NetworkUpdater
from sandbank.api.core.operations import Operations
from sandbank.api.core.pause import SandboxPauser
from sandbank.api.core.paused import PausedSandboxes
from sandbank.api.core.rate_limits import RateLimits, parse_rate_limits
from sandbank.api.core.reconcile import NodeReconciler
from sandbank.api.core.resume import SandboxResumer
from sandbank.api.core.snapshot_templates import SnapshotTemplates
from sandbank.api.core.team_secrets import SecretReader, SecretRules, Secrets
from sandbank.api.core.team_selection import TeamSelector
from sandbank.api.core.template_directory import TemplateCallers, TemplateOwnership
from sandbank.api.core.template_files import TemplateFiles
from sandbank.api.core.template_listing import TemplateLister
from sandbank.api.core.template_progress import BuildCanceller, BuildFollower
from sandbank.api.core.template_removal import TemplatePublisher, TemplateRemover
from sandbank.api.core.template_request import BuildRequester
from sandbank.api.core.template_start import BuildStarter
from sandbank.api.core.template_status import BuildReader
from sandbank.api.core.template_tags import TemplateTags
from sandbank.api.core.unknown_snapshots import UnknownSnapshots
from sandbank.api.core.volume_content import VolumeContent
from sandbank.api.core.volumes import VolumeRules, Volumes
from sandbank.api.core.wake import SandboxWaker
from sandbank.api.endpoints.http.application import build_application
from sandbank.api.endpoints.http.traced import Traced
from sandbank.api.endpoints.http_server import HttpServer
from sandbank.api.endpoints.resume_service import ResumeEndpoints
from sandbank.api.endpoints.secret_service import SecretEndpoints
from sandbank.api.settings import ApiSettings
from sandbank.clickhouse.client import ClickHouse
from sandbank.db.database import Database
from sandbank.db.schema import upgrade
from sandbank.discovery.settings import DiscoverySettings
from sandbank.domain.credentials import SandboxTokens
from sandbank.domain.development import TOKEN_SEED
from sandbank.domain.errors import InvalidError, SandbankError
from sandbank.domain.sandbox import Sandbox
from sandbank.rpc.resume import add_resume_service
from sandbank.rpc.secret import add_secret_service
from sandbank.rpc.server import RpcServer
from sandbank.servicekit.ports import require_free
from sandbank.state.catalog import MemoryCatalog
from sandbank.telemetry.metrics import Meter
from sandbank.telemetry.pipeline import API
from sandbank.telemetry.tracing import Tracer

_INTERNAL_GRACE_SECONDS = 2.0

_log = structlog.get_logger("sandbank.api")


def _now() -> datetime:
    return datetime.now(UTC)


def _on_error(task: str, error: BaseException) -> None:
    if isinstance(error, SandbankError):
        # Whoever waited for the task has it; this is for the loops that nobody waits for.
        _log.info("task failed", task=task, error=error.message)
    else:
        _log.error("task broke", task=task, exc_info=error)


def _on_sandbox_event(event: str, sandbox: Sandbox) -> None:
    _log.info(event, sandbox_id=sandbox.sandbox_id, node_id=sandbox.node_id, team_id=sandbox.team_id)


def _on_removed(count: int) -> None:
    _log.info("snapshots that nobody can ask for are removed", count=count)


def _on_default(alias: str) -> None:
    _log.info("default template is ready", alias=alias)


def _on_uncounted(error: SandbankError) -> None:
    _log.warning("rate limits are not enforced", error=error.message)


def database_url(settings: ApiSettings) -> str:
    """The database that these settings mean."""
    return settings.database_url


def require_safe(settings: ApiSettings) -> None:
    """`InvalidError` if the settings expose secrets that everybody knows."""
    if not settings.allow_seeded_credentials and settings.sandbox_access_token_hash_seed.get_secret_value() == TOKEN_SEED:
        raise InvalidError(
            "an exposed API needs a secret SANDBOX_ACCESS_TOKEN_HASH_SEED of its own: with the well-known one anybody can enter sandboxes"
        )


def identity_provider(settings: ApiSettings) -> IdentityProvider | None:
    """Who vouches for users, if anybody does; `InvalidError` if the settings cannot be safe."""
    if settings.oidc_issuer is None:
        return None
    return IdentityProvider(
        ProviderSettings(
            issuer=settings.oidc_issuer,
            audiences=settings.oidc_audience,
            jwks_url=settings.oidc_jwks_url,
            algorithms=settings.oidc_algorithms,
            clock_skew_seconds=settings.oidc_clock_skew_seconds,
        )
    )


async def _listen_inside(internal: RpcServer, settings: ApiSettings) -> None:
    addresses = [] if settings.internal_socket is None else [f"unix:{settings.internal_socket}"]
    if settings.internal_grpc_port is not None:
        require_free(settings.internal_bind, settings.internal_grpc_port, "the API's internal gRPC")
        addresses.append(f"{settings.internal_bind}:{settings.internal_grpc_port}")
    if addresses:
        await internal.start(*addresses)


def identity_tokens(settings: ApiSettings) -> IdentityTokens:
    """What issues workload tokens; sandboxes of an installation without a domain are `localhost`'s."""
    domain = settings.domain or "localhost"
    key = SigningKey(settings.iam_key or settings.data_dir / "identity.pem")
    return IdentityTokens(key, settings.iam_issuer or f"https://api.{domain}", domain.partition(":")[0])


def secret_sealer(settings: ApiSettings) -> SecretSealer:
    """What encrypts secrets; `InvalidError` for keys that are none."""
    if settings.secrets_key is None:
        return SecretSealer(KeyFile(settings.data_dir / "secrets.key"))
    return SecretSealer(FixedKeys(settings.secrets_key.get_secret_value()))


def build(
    settings: ApiSettings,
    *,
    catalog: MemoryCatalog | None = None,
    clickhouse: ClickHouse | None = None,
    template_manager_address: str | None = None,
    default_templates: Sequence[DefaultTemplate] = (),
    discovery: DiscoverySettings | None = None,
) -> ApiService:
    """The API, ready to be started; nothing is opened or checked before that.

    `catalog` is one that a client proxy in this process reads, too; where Redis is set the routes are there instead.
    `clickhouse` has metrics and logs; whoever made it closes it.
    `template_manager_address` is where the build service of the only node is, if that is not the port beside the node's own.
    `default_templates` are built as soon as some node builds, unless they have been.
    `discovery` says how nodes are found; without it they are those that `settings` list.
    """
    database = Database(database_url(settings))
    tasks = TaskGroup("api.work", _on_error)
    stores = choose_stores(None if settings.redis_url is None else settings.redis_url.get_secret_value(), settings.data_dir, catalog)
    store = stores.sandboxes
    usage = UsageRepo(database.sessions)
    accounts = AccountRepo(database.sessions, tasks, usage.key_used)
    credentials = AccountCredentials(database.sessions, accounts.forget)
    identities = identity_provider(settings)
    templates = TemplateRepo(database.sessions, tasks, is_shared=stores.is_shared, shares_artifacts=bool(settings.artifacts_url))
    nodes = NodePool(tasks, shares_artifacts=bool(settings.artifacts_url))
    builders = BuilderPool(nodes, tasks, settings.template_manager_port, template_manager_address)
    builds = TemplateBuildRepo(database.sessions)
    directory = TemplateDirectoryRepo(database.sessions, templates.forget)
    starter = BuildStarter(builds, builders, templates, tasks)
    follower = BuildFollower(builds, builders, _now, templates.forget)
    routes = CatalogRoutes(stores.catalog, nodes.host_of)
    tokens = SandboxTokens(settings.sandbox_access_token_hash_seed.get_secret_value())
    snapshots = SnapshotRepo(database.sessions, tokens)
    paused = PausedSandboxes(store, snapshots, nodes)
    killer = SandboxKiller(store, snapshots, nodes, nodes, routes, _now, tasks)
    pauser = SandboxPauser(store, store, snapshots, paused, nodes, routes, tasks)
    checkpointer = Checkpointer(store, store, paused, nodes, routes)
    launcher = SandboxLauncher(store, store, nodes, routes, shares_artifacts=bool(settings.artifacts_url))
    extender = SandboxExtender(store, nodes, _now)
    admin_token = settings.admin_token.get_secret_value() if settings.admin_token is not None else None
    queries = None if clickhouse is None else TenantQueries(clickhouse)
    log_store = choose_log_store(settings.loki_url, settings.loki_user, settings.loki_password, queries)
    team_metrics = TeamMetrics(store, clickhouse, _on_error)
    network = NetworkChecker(NetworkFeatures(egress_proxy=settings.egress_proxies, rules=settings.network_rules), resolve)
    volume_nodes = VolumeNodes(nodes.candidates, nodes.address_of)
    volume_records = VolumeRepo(database.sessions)
    volume_tokens = VolumeTokenMint(settings.volume_token_key or settings.data_dir / "volume-tokens.pem", settings.domain)
    volume_rules = VolumeRules(settings.volumes_enabled, settings.volumes_shared, settings.volumes_per_team)
    volumes = Volumes(volume_records, volume_nodes, volume_tokens, volume_rules)
    secret_records, sealer = SecretRepo(database.sessions), secret_sealer(settings)
    identity = identity_tokens(settings)
    resumer = SandboxResumer(
        sandboxes=store, paused=paused, launcher=launcher, extender=extender, volumes=volumes, tokens=tokens, tasks=tasks
    )
    operations = Operations(
        authenticator=Authenticator(accounts, admin_token, allow_seeded=settings.allow_seeded_credentials, identities=identities),
        creator=SandboxCreator(
            templates=templates,
            launcher=launcher,
            usage=usage,
            network=network,
            volumes=volumes,
            starts=team_metrics,
            tokens=tokens,
            tasks=tasks,
            issues_identities=settings.iam_tokens,
            pauses_by_default=settings.on_timeout == "pause",
        ),
        creates=IdempotentCreates(stores.idempotency, store, _now, tasks),
        extender=extender,
        killer=killer,
        pauser=pauser,
        resumer=resumer,
        forker=SandboxForker(
            checkpointer=checkpointer,
            launcher=launcher,
            nodes=nodes,
            volumes=volumes,
            tokens=tokens,
            starts=team_metrics,
            tasks=tasks,
        ),
        paused=paused,
        snapshot_templates=SnapshotTemplates(
            records=SnapshotTemplateRepo(database.sessions, templates.forget), checkpointer=checkpointer, nodes=nodes, tasks=tasks
        ),
        template_callers=TemplateCallers(directory, accounts, TeamSelector(accounts, accounts)),
        template_ownership=TemplateOwnership(directory),
        build_requester=BuildRequester(builds, templates.forget),
        build_starter=starter,
        build_reader=BuildReader(builds, builders, BuildLogStore(log_store.store), _now, follower.follow),
        build_canceller=BuildCanceller(builds, builders),
        template_files=TemplateFiles(directory, builders),
        template_lister=TemplateLister(TemplateShelfRepo(database.sessions)),
        template_publisher=TemplatePublisher(directory),
        template_remover=TemplateRemover(
            removals=TemplateRemovalRepo(database.sessions, templates.forget),
            directory=directory,
            sandboxes=store,
            residents=store,
            places=nodes,
            nodes=nodes,
            builders=builders,
        ),
        template_tags=TemplateTags(TemplateTagRepo(database.sessions), directory, templates.forget),
        lister=SandboxLister(store, snapshots, templates),
        sandboxes=store,
        teams=TeamLister(accounts),
        team_selector=TeamSelector(accounts, accounts),
        api_keys=ApiKeys(credentials),
        access_tokens=AccessTokens(credentials, is_provisioned=settings.access_token_provisioning),
        secrets=Secrets(secret_records, sealer, SecretRules(settings.secrets_enabled, settings.secrets_per_team), _now),
        identity=identity,
        volumes=volumes,
        volume_content=VolumeContent(volume_tokens, volume_records, volume_nodes),
        logs=LogReader(log_store.store, _now),
        metrics=MetricReader(None if queries is None else MetricRepo(queries), _now),
        network=NetworkUpdater(store, nodes, network),
        nodes=NodeAdministration(nodes, store),
        team_administration=TeamAdministration(store, killer),
        rate_limits=RateLimits(parse_rate_limits(settings.rate_limits), stores.rate_limits, _on_uncounted),
        readiness=nodes,
    )
    expirer = SandboxExpirer(store, nodes, killer, pauser, _now)
    kept_for = timedelta(days=settings.paused_retention_days)
    retention = PausedRetention(snapshots, killer, kept_for, _now, _on_sandbox_event, _on_error)
    flusher = UsageFlusher(usage, _on_error)
    reconciler = NodeReconciler(nodes, store, store, routes, paused.settle, _on_sandbox_event)
    found = (discovery or DiscoverySettings(discovery=("static",))).sources(settings.nodes, _on_error)
    watcher = NodeWatcher(found, nodes, reconciler, _on_error, alone=not stores.is_shared)

    defaults = DefaultTemplates(DefaultTemplateRepo(database.sessions), builds, builders, starter, accounts, _now)

    tracer = Tracer(API)
    internal = RpcServer(_on_error, tracer)
    add_secret_service(internal, SecretEndpoints(SecretReader(secret_records, sealer, store, identity)))
    add_resume_service(internal, ResumeEndpoints(SandboxWaker(store, paused, resumer, accounts, routes, nodes.host_of)))

    async def prepare() -> None:
        require_safe(settings)
        await upgrade(database.engine)
        await accounts.forget_if_changed()  # what counts from here on
        await watcher.first_pass()
        await paused.settle_all()
        if stores.is_shared and settings.secrets_key is None:
            _log.warning("SANDBANK_SECRETS_KEY is not set: other API processes cannot read the secrets that this one encrypts")
        await _listen_inside(internal, settings)

    async def release() -> None:
        await internal.stop(_INTERNAL_GRACE_SECONDS)
        await tasks.close()
        await flusher.flush()
        await team_metrics.stop()
        if identities is not None:
            await identities.close()
        await volume_nodes.close()
        await builders.close()
        await nodes.close()
        await found.close()
        await log_store.close()
        await stores.close()
        await database.close()

    application = build_application(operations, settings.domain, settings.upload_base_url)
    return ApiService(
        server=HttpServer(Traced(application, tracer, Meter(API)), settings.bind, settings.api_port),
        agents=[
            Evictor(store, expirer, _now, _on_error),
            retention,
            watcher,
            flusher,
            team_metrics,
            AccountWatcher(accounts, _on_error),
            BuildWatcher(follower, _on_error),
            DefaultTemplateBuilder(defaults, default_templates, _on_default, _on_error),
            SnapshotCollector(UnknownSnapshots(nodes, snapshots, _now), _on_removed, _on_error),
        ],
        prepare=prepare,
        release=release,
        on_error=_on_error,
    )
