"""Puts the Docker reverse proxy together."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.db.database import Database, PoolLimits
from sandbank.docker_reverse_proxy.adapters.image_store import ImageStore
from sandbank.docker_reverse_proxy.adapters.push_rights import SqlPushRights
from sandbank.docker_reverse_proxy.adapters.store_collection import StoreCollection
from sandbank.docker_reverse_proxy.adapters.store_files import StoreFiles, StoreLimits
from sandbank.docker_reverse_proxy.adapters.upload_store import UploadStore
from sandbank.docker_reverse_proxy.adapters.upstream import UpstreamRegistry
from sandbank.docker_reverse_proxy.background.collector import Collector
from sandbank.docker_reverse_proxy.core.continuations import Continuations
from sandbank.docker_reverse_proxy.core.grant import TokenGranter
from sandbank.docker_reverse_proxy.core.registry_url import RegistryUrl
from sandbank.docker_reverse_proxy.core.routes import Routes
from sandbank.docker_reverse_proxy.core.tokens import Tokens
from sandbank.docker_reverse_proxy.endpoints.resolver import DockerResolver, Realm
from sandbank.docker_reverse_proxy.endpoints.service import DockerReverseProxyService
from sandbank.docker_reverse_proxy.endpoints.store_application import StoreApplication
from sandbank.docker_reverse_proxy.endpoints.store_server import HOST, StoreServer
from sandbank.docker_reverse_proxy.settings import DockerReverseProxySettings
from sandbank.domain.errors import InvalidError
from sandbank.proxy.local_authority import LocalAuthority
from sandbank.proxy.server import ProxyServer
from sandbank.proxy.tls import FreshContext, given_certificate, local_certificate
from sandbank.servicekit.public_domain import PublicDomain

_STORE_USER = "sandbank"
_CONNECTIONS = PoolLimits(3, 3)

_log = structlog.get_logger("sandbank.docker_reverse_proxy")


@dataclass(frozen=True, slots=True)
class ImageRegistry:
    """Where pushed images are, for the proxy and for whoever builds from them: `<url>/<templateID>:<buildID>`."""

    url: str
    username: str
    password: str = field(repr=False)


def image_registry(settings: DockerReverseProxySettings) -> ImageRegistry:
    """The registry of these settings; the store of this process, with a password for this process alone, where none is named."""
    password = settings.docker_registry_password.get_secret_value()
    if settings.docker_registry_url is not None:
        return ImageRegistry(settings.docker_registry_url, settings.docker_registry_username, password)
    username = settings.docker_registry_username or _STORE_USER
    return ImageRegistry(f"http://{HOST}:{settings.docker_store_port}", username, password or secrets.token_urlsafe(32))


def build(settings: DockerReverseProxySettings, registry: ImageRegistry | None = None) -> DockerReverseProxyService:
    """With the images in `registry`, by default that of the settings. `InvalidError` for settings that cannot work."""
    registry = registry or image_registry(settings)
    url = RegistryUrl.parse(registry.url)
    tasks = TaskGroup("docker-reverse-proxy", _task_failed)
    database = Database(settings.database_url, _CONNECTIONS)
    rights = SqlPushRights(database.sessions, allow_seeded=settings.allow_seeded_credentials)
    upstream = UpstreamRegistry(url, registry.username, registry.password)
    secret = _secret(settings)
    tokens = Tokens(secret, time.time)
    resolver = DockerResolver(
        TokenGranter(rights, upstream, tokens), tokens, Routes(url.prefix, Continuations(secret)), upstream, _realm(settings)
    )
    traffic = ProxyServer(
        "the Docker reverse proxy",
        resolver,
        host=settings.bind,
        port=settings.docker_reverse_proxy_port,
        drain_seconds=settings.docker_reverse_proxy_drain_seconds,
        tls=_tls(settings),
    )

    async def release() -> None:
        await upstream.close()
        await database.close()

    if settings.docker_registry_url is not None:
        return DockerReverseProxyService(traffic, tasks, release)
    files = StoreFiles(settings.data_dir / "registry", _limits(settings))
    images = ImageStore(files)
    uploads = UploadStore(files, images)
    store = StoreServer(StoreApplication(images, uploads, registry.username, registry.password), settings.docker_store_port, tasks)
    collector = Collector(StoreCollection(files, uploads.is_busy), rights.list_existing, uploads.forget_removed)
    return DockerReverseProxyService(traffic, tasks, release, store=store, prepare=files.prepare, collect=collector.run)


def _secret(settings: DockerReverseProxySettings) -> bytes:
    given = settings.docker_reverse_proxy_secret
    if given is None or not given.get_secret_value():
        return secrets.token_bytes(32)
    if len(given.get_secret_value()) < 16:
        raise InvalidError("SANDBANK_DOCKER_REVERSE_PROXY_SECRET is too short to keep anybody out: 16 characters or more")
    return given.get_secret_value().encode()


def _realm(settings: DockerReverseProxySettings) -> Realm:
    url = settings.docker_reverse_proxy_url
    if url is not None:
        url = url.rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or '"' in url:
            raise InvalidError(f"{url!r} is no URL of the form http(s)://host[:port]")
    return Realm(url, f"{settings.bind}:{settings.docker_reverse_proxy_port}")


def _limits(settings: DockerReverseProxySettings) -> StoreLimits:
    return StoreLimits(
        max_layer_mib=settings.docker_store_max_layer_mib,
        max_template_mib=settings.docker_store_max_template_mib,
        min_free_mib=settings.docker_store_min_free_mib,
        abandoned_hours=settings.docker_store_abandoned_hours,
        keep_image_hours=settings.docker_store_keep_hours,
    )


def _tls(settings: DockerReverseProxySettings) -> FreshContext | None:
    if (settings.certificate is None) != (settings.certificate_key is None):
        raise InvalidError("a certificate needs its key and a key its certificate: give both or none")
    domain = None if settings.domain is None else PublicDomain.parse(settings.domain)
    if settings.certificate is not None and settings.certificate_key is not None:
        return given_certificate(settings.certificate, settings.certificate_key, domain)
    if settings.local_ca_dir is not None and domain is not None:
        return local_certificate(LocalAuthority(settings.local_ca_dir, domain))
    return None


def _task_failed(task: str, error: BaseException) -> None:
    _log.error("task failed", task=task, exc_info=error)
