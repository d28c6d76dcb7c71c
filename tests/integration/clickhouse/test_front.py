"""Our client against ClickHouse's HTTP interface, as the compose stack's test-only front serves it over the embedded engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.schema import Schema
from sandbank.domain.errors import UnavailableError
from tests.product.clickhouse_http import clickhouse_over_http


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    variables = {"CLICKHOUSE_USER": "sandbank", "CLICKHOUSE_PASSWORD": "pass word", "CLICKHOUSE_DB": "analytics"}
    with clickhouse_over_http(tmp_path_factory.mktemp("front"), variables=variables) as url:
        yield urlsplit(url).netloc


async def test_migrations_rows_and_parameters(address: str) -> None:
    client = ClickHouse.connect(f"http://sandbank:pass%20word@{address}/analytics")
    try:
        schema = Schema(client, None)
        assert await schema.up() == [1, 2, 3, 4]
        assert await schema.up() == []
        client.ready.set()
        await client.command("CREATE TABLE t (at DateTime64(9), name String, n Map(String, String)) ENGINE = MergeTree ORDER BY at")
        rows = [(datetime(2026, 1, 2, tzinfo=UTC), "a'\\\n", {"k": "v"}), (datetime(2026, 1, 3, tzinfo=UTC), "ü", {})]
        await client.insert("t", ["at", "name", "n"], rows)
        assert await client.query("SELECT name, n FROM t WHERE name = {name:String}", {"name": "a'\\\n"}) == [("a'\\\n", {"k": "v"})]
        assert await client.query("SELECT count() FROM t", {}) == [(2,)]
        with pytest.raises(UnavailableError, match="nothing_of_that_name"):
            await client.query("SELECT * FROM nothing_of_that_name", {})
    finally:
        await client.close()


async def test_a_wrong_password(address: str) -> None:
    client = ClickHouse.connect(f"http://sandbank:wrong@{address}/analytics")
    client.ready.set()
    try:
        with pytest.raises(UnavailableError):
            await client.query("SELECT 1", {})
    finally:
        await client.close()
