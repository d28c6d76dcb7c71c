"""One history for a server, the embedded engine and a cluster (contract templates-and-data §4)."""

from __future__ import annotations

import re

import pytest

from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.schema import Schema, migrations, statements
from sandbank.domain.errors import InvalidError

TABLES = {
    "sandbox_metrics_gauge",
    "team_metrics_gauge",
    "team_metrics_sum",
    "sandbox_events",
    "sandbox_host_stats",
    "sandbox_logs",
    "sandbox_egress",
    "webhook_deliveries",
}


def everything(cluster: str | None, *, down: bool = False) -> list[str]:
    return [text for migration in migrations() for text in statements(migration.text, cluster, down=down)]


def made(pattern: str, texts: list[str]) -> set[str]:
    return {match[1] for text in texts if (match := re.match(pattern, text)) is not None}


def test_numbers_go_up_by_one() -> None:
    assert [migration.number for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_on_a_server_tables_are_tables() -> None:
    texts = everything(None)
    assert made(r"CREATE TABLE IF NOT EXISTS (\w+)", texts) == TABLES | {"metrics_gauge", "metrics_sum"}
    assert not [text for text in texts if "Distributed" in text or "CLUSTER" in text or "${" in text]


def test_on_a_cluster_each_table_is_distributed_over_local_ones() -> None:
    texts = everything("main")
    local = {f"{table}_local" for table in TABLES}
    assert made(r"CREATE TABLE IF NOT EXISTS (\w+) ON CLUSTER 'main'", texts) == TABLES | local | {"metrics_gauge", "metrics_sum"}
    for table in TABLES:
        (text,) = (text for text in texts if text.startswith(f"CREATE TABLE IF NOT EXISTS {table} "))
        assert re.search(rf"AS {table}_local ENGINE = Distributed\('main', currentDatabase\(\), '{table}_local', xxHash64\(\w+\)\)", text)
    assert all("ON CLUSTER 'main'" in text for text in texts)
    assert "${" not in "".join(texts)


@pytest.mark.parametrize("cluster", [None, "main"])
def test_down_drops_what_up_makes(cluster: str | None) -> None:
    pattern = r"(?:CREATE (?:TABLE|MATERIALIZED VIEW) IF NOT EXISTS|DROP (?:TABLE|VIEW) IF EXISTS) (\w+)"
    assert made(pattern, everything(cluster)) == made(pattern, everything(cluster, down=True))


def test_every_step_is_safe_to_repeat() -> None:
    """Two services may take it at once."""
    assert all(" IF NOT EXISTS " in text for text in everything("main"))


def test_a_name_that_is_no_clusters_is_refused() -> None:
    with pytest.raises(InvalidError, match="no name of a ClickHouse cluster"):
        Schema(ClickHouse.connect("http://127.0.0.1:9"), "x' ENGINE")
