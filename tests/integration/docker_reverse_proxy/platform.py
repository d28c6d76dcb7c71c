"""A Docker reverse proxy that runs in the test, and the rows that say who may push."""

from __future__ import annotations

import base64
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.db.database import Database
from sandbank.db.models_accounts import Team, User, UserTeam
from sandbank.db.models_templates import Env, EnvBuild, EnvBuildAssignment
from sandbank.db.schema import upgrade
from sandbank.db.seed import access_token_row, seed_local_development
from sandbank.docker_reverse_proxy.endpoints.service import DockerReverseProxyService
from sandbank.docker_reverse_proxy.settings import DockerReverseProxySettings
from sandbank.docker_reverse_proxy.wiring import ImageRegistry, build, image_registry
from sandbank.domain import development
from tests.integration.docker_reverse_proxy.programs import UPSTREAM_PASSWORD, UPSTREAM_USER, free_port

TEMPLATE = "tmpl0000000000000000"
OTHER_TEMPLATE = "othr0000000000000000"  # of the other user's team
BUILT_TEMPLATE = "done0000000000000000"  # of the first team; nothing waits there
DELETED_TEMPLATE = "gone0000000000000000"
BUILD = uuid.UUID("11111111-1111-4111-8111-111111111111")
TOKEN = development.ACCESS_TOKEN
OTHER_TOKEN = "sk_e2b_" + "0b" * 20


async def add_rows(database: Database) -> None:
    """Two users with a team each, and a template of each kind."""
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    other_user, other_team = uuid.uuid4(), uuid.uuid4()
    async with database.sessions.begin() as session:
        session.add(User(id=other_user))
        session.add(Team(id=other_team, name="others", slug="others", email="o@example.com", tier="local_v1"))
        await session.flush()
        session.add(UserTeam(user_id=other_user, team_id=other_team, is_default=True))
        session.add(access_token_row(OTHER_TOKEN, other_user, "other"))
        own_team = uuid.UUID(development.TEAM_ID)
        await _add_template(session, TEMPLATE, own_team, BUILD, "waiting")
        await _add_template(session, OTHER_TEMPLATE, other_team, uuid.uuid4(), "waiting")
        await _add_template(session, BUILT_TEMPLATE, own_team, uuid.uuid4(), "uploaded")
        await _add_template(session, DELETED_TEMPLATE, own_team, uuid.uuid4(), "waiting")
    await set_deleted(database.sessions, DELETED_TEMPLATE)


async def _add_template(session: AsyncSession, template_id: str, team_id: uuid.UUID, build_id: uuid.UUID, status: str) -> None:
    session.add(Env(id=template_id, team_id=team_id))
    session.add(
        EnvBuild(id=build_id, status=status, vcpu=2, ram_mb=512, free_disk_size_mb=512, firecracker_version="none", version="v1.0.0")
    )
    await session.flush()
    session.add(EnvBuildAssignment(env_id=template_id, build_id=build_id, tag="default"))


async def set_deleted(sessions: async_sessionmaker[AsyncSession], template_id: str) -> None:
    """As the API deletes a template."""
    from sandbank.db.base import utc_now

    async with sessions.begin() as session:
        await session.execute(update(Env).where(Env.id == template_id).values(deleted_at=utc_now()))


async def set_status(sessions: async_sessionmaker[AsyncSession], build_id: uuid.UUID, status: str) -> None:
    """As the API does when a build goes on."""
    async with sessions.begin() as session:
        await session.execute(update(EnvBuild).where(EnvBuild.id == build_id).values(status=status))


@dataclass
class Platform:
    """What a test talks to."""

    service: DockerReverseProxyService
    settings: DockerReverseProxySettings
    registry: ImageRegistry
    database: Database

    @property
    def port(self) -> int:
        """The proxy's."""
        return self.service.traffic.port

    @property
    def address(self) -> str:
        """Of the proxy, as Docker writes it."""
        return f"127.0.0.1:{self.port}"

    def image(self, template_id: str = TEMPLATE, build_id: uuid.UUID = BUILD) -> str:
        """A name to push to."""
        return f"{self.address}/e2b/custom-envs/{template_id}:{build_id}"

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """HTTP to the proxy, with a bearer token."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=f"http://{self.address}", headers=headers, timeout=60, trust_env=False)

    def upstream(self) -> httpx.AsyncClient:
        """HTTP to the registry behind."""
        return httpx.AsyncClient(
            base_url=self.registry.url.removesuffix("/sandbank/images"),
            auth=(self.registry.username, self.registry.password),
            trust_env=False,
        )

    @property
    def prefix(self) -> str:
        """Of repositories in the registry behind."""
        return "sandbank/images/" if self.registry.url.endswith("/sandbank/images") else ""

    async def ask_token(
        self, template_id: str | None = TEMPLATE, *, access_token: str = TOKEN, actions: str = "push,pull"
    ) -> httpx.Response:
        """The token handler's answer."""
        parameters: dict[str, Any] = {"account": "_e2b_access_token"}
        if template_id is not None:
            parameters["scope"] = f"repository:e2b/custom-envs/{template_id}:{actions}"
        async with self.client() as client:
            return await client.get("/v2/token", params=parameters, headers={"Authorization": basic(f"_e2b_access_token:{access_token}")})

    async def token(self, template_id: str | None = TEMPLATE, *, access_token: str = TOKEN) -> str:
        """A bearer token."""
        answer = await self.ask_token(template_id, access_token=access_token)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])


def basic(credentials: str) -> str:
    """As clients send it."""
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@contextlib.asynccontextmanager
async def platform(data_dir: Path, database: Database, registry_url: str | None = None, **more: Any) -> AsyncIterator[Platform]:
    """The service on free ports; in front of `registry_url`, or with its own store."""
    fields: dict[str, Any] = {
        "data_dir": data_dir,
        "docker_reverse_proxy_port": 0,
        "docker_store_port": free_port(),
        "docker_store_min_free_mib": 0,
        "docker_reverse_proxy_drain_seconds": 0.5,
        "postgres_connection_string": database.url,
    }
    if registry_url is not None:
        fields |= {
            "docker_registry_url": registry_url,
            "docker_registry_username": UPSTREAM_USER,
            "docker_registry_password": UPSTREAM_PASSWORD,
        }
    settings = DockerReverseProxySettings(**{**fields, **more})
    registry = image_registry(settings)
    service = build(settings, registry)
    try:
        await service.start()
        yield Platform(service, settings, registry, database)
    finally:
        await service.stop()
