"""docker-compose.yml and .env.example say the same things, and only nodes have privileges."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service and name != "tests"}
NODES = {"orchestrator", "template-manager"}


def test_every_variable_is_documented_with_the_default_it_has() -> None:
    used = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", TEXT))
    lines = (ROOT / ".env.example").read_text().splitlines()
    documented = {line.partition("=")[0]: line.partition("=")[2] for line in lines if re.match(r"[A-Z_]+=", line)}
    assert documented == used


def test_only_nodes_have_privileges() -> None:
    assert NODES < OURS
    for name in OURS:
        service = SERVICES[name]
        assert service["cap_drop"] == ["ALL"], name
        assert not service.get("privileged"), name
        if name not in NODES:
            assert "cap_add" not in service, name
            assert service["security_opt"] == ["no-new-privileges"], name
            assert service["read_only"] is True, name


def test_nodes_do_not_see_the_secrets_of_other_services() -> None:
    for name in NODES:
        mounts = [volume for volume in SERVICES[name]["volumes"] if ":/run/secrets" in volume]
        assert mounts == ["node-secrets:/run/secrets/sandbank:ro"]


def test_the_manual_gives_a_reason_for_every_capability() -> None:
    manual = (ROOT / "docs/operations/docker-compose.md").read_text()
    missing = {capability for capability in SERVICES["orchestrator"]["cap_add"] if f"`{capability}`" not in manual}
    assert missing == set()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_bounded_and_says_how_it_is(name: str) -> None:
    service = SERVICES[name]
    if service.get("restart") == "no" or name == "tests":
        return  # runs once
    assert service["restart"] == "unless-stopped"
    assert "mem_limit" in service
    assert "healthcheck" in service or name == "otel-collector"  # which has no program that could ask
    for port in service.get("ports", ()):
        assert port.startswith("${BIND_ADDRESS:-127.0.0.1}:")


def test_memory_fits_8_gb() -> None:
    limits = [re.search(r":-(\d+)([mg])", str(service["mem_limit"])) for service in SERVICES.values() if "mem_limit" in service]
    assert sum(int(found[1]) * (1024 if found[2] == "g" else 1) for found in limits if found) <= 8 * 1024


def test_volumes_are_declared() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert {name for name in used if re.fullmatch(r"[a-z-]+", name)} == set(COMPOSE["volumes"])


@pytest.mark.parametrize("file", ["deploy/otel/collector.yaml"])
def test_pipelines_of_the_collector_consist_of_what_is_defined(file: str) -> None:
    found = yaml.safe_load((ROOT / file).read_text())
    assert set(found["service"]["pipelines"]) == {"traces", "metrics", "logs"}
    for pipeline in found["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= set(found[part])
    assert set(found["service"]["extensions"]) <= set(found["extensions"])


def test_loki_keeps_what_its_limits_say() -> None:
    found = yaml.safe_load((ROOT / "deploy/loki/loki.yaml").read_text())
    assert found["compactor"]["retention_enabled"] is True
    assert re.fullmatch(r"\d+h", found["limits_config"]["retention_period"])
    assert found["schema_config"]["configs"][0]["schema"] == "v13"  # what structured metadata needs
