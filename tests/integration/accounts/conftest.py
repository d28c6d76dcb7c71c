"""Two API processes' worth of services over one database of either kind, and an identity provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from sandbank.api.adapters.identity_provider import IdentityProvider, ProviderSettings
from sandbank.api.background.service import ApiService
from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build
from sandbank.db.database import Database
from sandbank.domain.development import API_KEY, OIDC_SUBJECT, TEAM_ID
from sandbank.state.catalog import MemoryCatalog
from tests.integration.api.conftest import free_port, node, seed
from tests.integration.api.grpc_node import GrpcNode
from tests.product.identity_provider import AUDIENCE, ISSUER, Provider
from tests.product.postgres import database, database_url, postgres, postgres_server

__all__ = ["database", "database_url", "node", "postgres", "postgres_server"]


@dataclass
class Accounts:
    """A running installation as seen by its clients; `other` is a second API on the same database."""

    client: httpx.AsyncClient
    other: httpx.AsyncClient
    provider: Provider
    database: Database
    settings: ApiSettings
    services: list[ApiService] = field(default_factory=list)

    def member(self, subject: str = OIDC_SUBJECT, team_id: str = TEAM_ID) -> dict[str, str]:
        """What a member sends who has signed in."""
        return {"Authorization": f"Bearer {self.provider.token(subject)}", "X-Team-ID": team_id}


KEY = {"X-API-Key": API_KEY}
OPERATOR = {"X-Admin-Token": "operator", "X-Team-ID": TEAM_ID}


@pytest.fixture(scope="session")
def provider() -> Provider:
    """One for all tests: nothing about it is changed."""
    return Provider()


@pytest.fixture
async def accounts(
    database: Database, node: GrpcNode, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Accounts]:
    """The local development seed, whose user signs in at the test's provider."""
    monkeypatch.setattr("sandbank.domain.development.OIDC_ISSUER", ISSUER)
    monkeypatch.setattr(
        "sandbank.api.wiring.identity_provider",
        lambda settings: IdentityProvider(ProviderSettings(ISSUER, (AUDIENCE,)), provider.client()),
    )
    await seed(database)
    services, clients = [], []
    settings = ApiSettings(
        data_dir=tmp_path,
        postgres_connection_string=SecretStr(database.url),
        internal_grpc_port=None,
        nodes=(node.address,),
        admin_token=SecretStr("operator"),
        allow_seeded_credentials=True,
    )
    for _ in range(2):
        own = settings.model_copy(update={"api_port": free_port()})
        service = build(own, catalog=MemoryCatalog())
        services.append(service)
        await service.start()
        clients.append(httpx.AsyncClient(base_url=f"http://127.0.0.1:{own.api_port}", trust_env=False))
    yield Accounts(clients[0], clients[1], provider, database, settings, services)
    for client in clients:
        await client.aclose()
    for service in services:
        await service.stop()
