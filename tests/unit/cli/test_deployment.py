"""What a first start of services that run apart generates."""

from __future__ import annotations

import stat
from pathlib import Path

from sandbank.api.adapters.secret_keys import parse_keys
from sandbank.cli.deployment import copy_for_nodes, write_settings


def read(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_secrets_are_generated_once_and_addresses_follow_from_them(tmp_path: Path) -> None:
    generated = write_settings(tmp_path, {}, {"full"})
    first = read(tmp_path)
    assert "ADMIN_TOKEN" in generated
    assert first["POSTGRES_CONNECTION_STRING"] == f"postgresql://sandbank:{first['POSTGRES_PASSWORD']}@postgres:5432/sandbank"
    assert first["CLICKHOUSE_CONNECTION_STRING"].endswith(f":{first['CLICKHOUSE_PASSWORD']}@clickhouse:9000/sandbank")
    assert first["LOKI_URL"] == "http://loki:3100"
    assert len(parse_keys(first["SANDBANK_SECRETS_KEY"])) == 1
    assert len({first[name] for name in generated}) == len(generated)
    assert write_settings(tmp_path, {}, {"full"}) == []
    assert read(tmp_path) == first


def test_what_the_environment_says_wins(tmp_path: Path) -> None:
    write_settings(tmp_path, {}, {"full"})
    given = {"ADMIN_TOKEN": "mine", "POSTGRES_PASSWORD": "p", "REDIS_URL": "redis://elsewhere"}
    assert write_settings(tmp_path, given, {"full"}) == []
    found = read(tmp_path)
    assert (found["ADMIN_TOKEN"], found["REDIS_URL"]) == ("mine", "redis://elsewhere")
    assert found["POSTGRES_CONNECTION_STRING"] == "postgresql://sandbank:p@postgres:5432/sandbank"


def test_parts_that_are_not_there_have_no_address(tmp_path: Path) -> None:
    write_settings(tmp_path, {}, {"full"})
    write_settings(tmp_path, {"OTEL_COLLECTOR_GRPC_ENDPOINT": "mine:4317"}, {"analytics"})
    found = read(tmp_path)
    assert "CLICKHOUSE_CONNECTION_STRING" in found
    assert "LOKI_URL" not in found
    assert found["OTEL_COLLECTOR_GRPC_ENDPOINT"] == "mine:4317"


def test_services_of_any_user_may_read_but_not_write(tmp_path: Path) -> None:
    write_settings(tmp_path, {}, {"minimal"})
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o444}


def test_nodes_get_addresses_of_stores_and_no_other_secret(tmp_path: Path) -> None:
    services, nodes = tmp_path / "services", tmp_path / "nodes"
    services.mkdir()
    nodes.mkdir()
    write_settings(services, {}, {"full"})
    copy_for_nodes(services, nodes)
    assert set(read(nodes)) == {"REDIS_URL", "CLICKHOUSE_CONNECTION_STRING", "LOKI_URL", "OTEL_COLLECTOR_GRPC_ENDPOINT"}
    assert read(nodes)["REDIS_URL"] == read(services)["REDIS_URL"]
    write_settings(services, {}, {"minimal"})
    copy_for_nodes(services, nodes)
    assert set(read(nodes)) == {"REDIS_URL"}
