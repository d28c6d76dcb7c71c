"""A PostgreSQL that is away, slow, wrong or newer: what clients read meanwhile, and that nobody has to restart anything."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build
from sandbank.db.database import Database, PoolLimits
from sandbank.db.schema import upgrade
from sandbank.domain.credentials import new_api_key
from sandbank.domain.errors import ConflictError, InvalidError, UnavailableError
from sandbank.state.catalog import MemoryCatalog
from tests.integration.accounts.conftest import KEY, OPERATOR
from tests.integration.api.conftest import free_port, seed
from tests.integration.api.grpc_node import GrpcNode
from tests.product.postgres import PostgresServer


async def test_the_api_outlives_a_restart_of_postgres(postgres_server: PostgresServer, node: GrpcNode, tmp_path: Path) -> None:
    url = await postgres_server.create_database()
    database = Database(url)
    await seed(database)
    await database.close()
    settings = ApiSettings(
        data_dir=tmp_path,
        api_port=free_port(),
        postgres_connection_string=SecretStr(url),
        internal_grpc_port=None,
        nodes=(node.address,),
        admin_token=SecretStr("operator"),
        allow_seeded_credentials=True,
    )
    service = build(settings, catalog=MemoryCatalog())
    await service.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.api_port}", trust_env=False, timeout=30) as client:
            assert (await client.get("/sandboxes", headers=KEY)).status_code == 200
            await asyncio.to_thread(postgres_server.stop)
            try:
                # Whoever was seen lately goes on; what needs the database says so, in E2B's shape.
                assert (await client.get("/sandboxes", headers=KEY)).status_code == 200
                for headers, path in (({"X-API-Key": new_api_key()}, "/sandboxes"), (OPERATOR, "/api-keys")):
                    refused = await client.get(path, headers=headers)
                    assert (refused.status_code, refused.json()) == (503, {"code": 503, "message": "the database does not answer"})
            finally:
                await asyncio.to_thread(postgres_server.start)
            end = time.monotonic() + 10
            while (answer := await client.get("/api-keys", headers=OPERATOR)).status_code != 200:
                assert (answer.status_code, answer.json()["code"]) == (503, 503)
                assert time.monotonic() < end
                await asyncio.sleep(0.05)
            assert (await client.get("/sandboxes", headers={"X-API-Key": new_api_key()})).status_code == 401
    finally:
        await service.stop()


async def test_a_statement_ends_in_time(postgres: Database) -> None:
    async with postgres.sessions() as session:
        assert await session.scalar(text("SHOW statement_timeout")) == "10s"
        await session.execute(text("SET LOCAL statement_timeout = 50"))
        with pytest.raises(UnavailableError), translated():
            await session.execute(text("SELECT pg_sleep(5)"))


async def test_a_value_that_cannot_be_stored_is_the_senders_fault(postgres: Database) -> None:
    with pytest.raises(InvalidError), translated():
        async with postgres.sessions.begin() as session:
            await session.execute(text("SELECT CAST(:value AS text)"), {"value": "a\0b"})


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:secret@127.0.0.1:1/db", "the database cannot be used: .*"),
        ("postgresql://sandbank@/absent?host={socket}", "the database cannot be used: .*absent.* does not exist"),
        ("postgresql://u:secret@no-such-host.invalid/db", "the database cannot be used: .*"),
    ],
)
async def test_a_wrong_address_is_one_clear_line(postgres_server: PostgresServer, url: str, words: str) -> None:
    database = Database(url.format(socket=postgres_server.directory))
    try:
        with pytest.raises(UnavailableError, match=words) as raised:
            await upgrade(database.engine)
    finally:
        await database.close()
    assert "\n" not in raised.value.message
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/db",
        "postgresql://u:secret@h:port/db",
        "postgresql://u:secret@h:5432",
        "postgresql://u:secret@h/db?sslmod=disable",
        "postgresql://u:secret@[h/db",
        "secret",
        "",
    ],
)
def test_a_malformed_address_is_one_clear_line_without_the_password(url: str) -> None:
    with pytest.raises(InvalidError, match="POSTGRES_CONNECTION_STRING") as raised:
        Database(url)
    assert "\n" not in raised.value.message
    assert "secret" not in raised.value.message


async def test_services_refuse_a_newer_database(postgres_server: PostgresServer, node: GrpcNode, tmp_path: Path) -> None:
    url = await postgres_server.create_database()
    database = Database(url)
    await upgrade(database.engine)
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    settings = ApiSettings(data_dir=tmp_path, api_port=free_port(), postgres_connection_string=SecretStr(url), internal_grpc_port=None)
    service = build(settings.model_copy(update={"nodes": (node.address,)}), catalog=MemoryCatalog())
    try:
        with pytest.raises(ConflictError, match=r"schema 9999.*newer"):
            await service.start()
    finally:
        await service.stop()


async def test_a_full_pool_is_an_answer_in_time(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbank.db.database._POOL_SECONDS", 0.05)
    database = Database(await postgres_server.create_database(), PoolLimits(size=1, overflow=0))
    try:
        async with database.sessions() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(UnavailableError), translated():
                async with database.sessions() as second:
                    await second.execute(text("SELECT 1"))
    finally:
        await database.close()
