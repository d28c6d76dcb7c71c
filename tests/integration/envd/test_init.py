"""`POST /init` and the freeze family (data-plane contract §4.8, §4.9, §14.4)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbank.envd.certificates import CA_BUNDLE, CA_FILE
from sandbank.version import ENVD_VERSION
from tests.integration.envd.driving import Agent, running_agent


def init(agent: Agent, body: Any, token: str | None = None) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, headers, answer = agent.request("POST", "/init", data, {"x-access-token": token} if token else {})
    assert headers["x-envd-version"] == ENVD_VERSION
    if status == 204:
        assert headers["cache-control"] == "no-store"
    return status, answer


def envs(agent: Agent, token: str = "") -> dict[str, str]:
    found: dict[str, str] = json.loads(agent.request("GET", "/envs", headers={"x-access-token": token})[2])
    return found


@pytest.fixture
def own() -> Iterator[Agent]:
    with running_agent() as agent:
        yield agent


@pytest.fixture
def kept_files() -> Iterator[None]:
    """The machine's own hosts and certificates, as they were."""
    before = {path: Path(path).read_bytes() if os.path.exists(path) else None for path in ("/etc/hosts", CA_FILE, CA_BUNDLE)}
    yield
    for path, content in before.items():
        if content is None:
            Path(path).unlink(missing_ok=True)
        else:
            Path(path).write_bytes(content)


def test_the_first_sets_the_token_and_only_who_knows_it_changes_it(own: Agent) -> None:
    assert init(own, b"") == (204, b"")
    assert init(own, {"accessToken": "one"})[0] == 204
    assert own.request("GET", "/envs")[0] == 401
    assert init(own, {"accessToken": "two"}) == (401, b"access token validation failed")
    assert init(own, {}) == (401, b"access token reset not authorized")
    assert init(own, {"accessToken": "one"})[0] == 204
    assert init(own, {"accessToken": "two"}, token="one")[0] == 204
    assert "E2B_SANDBOX_ID" in envs(own, "two")
    assert init(own, {}, token="two")[0] == 204
    assert own.request("GET", "/envs")[0] == 200


def test_variables_are_replaced_and_the_agents_own_stay(own: Agent) -> None:
    """§4.8, §5.1"""
    assert init(own, {"envVars": {"A": "1", "E2B_SANDBOX_ID": "fake", "E2B_EVENTS_ADDRESS": "fake", "E2B_API_KEY": "mine"}})[0] == 204
    found = envs(own)
    assert (found["A"], found["E2B_SANDBOX_ID"], found["E2B_API_KEY"]) == ("1", "itestsandbox", "mine")
    assert "E2B_EVENTS_ADDRESS" not in found
    assert init(own, {"envVars": {"B": "2"}})[0] == 204
    assert {name for name in envs(own) if not name.startswith("E2B_")} == {"B"}
    assert init(own, {})[0] == 204
    assert envs(own)["B"] == "2"


def test_a_stale_body_changes_nothing_and_is_no_error(own: Agent) -> None:
    assert init(own, {"timestamp": "2026-11-22T10:00:00.000000002Z", "envVars": {"A": "new"}, "lifecycleID": "x"})[0] == 204
    assert init(own, {"timestamp": "2026-11-22T10:00:00.000000001Z", "envVars": {"A": "old"}})[0] == 204
    assert envs(own)["A"] == "new"
    assert init(own, {"timestamp": "2026-11-22T11:00:00.000000003+01:00", "envVars": {"A": "newer"}})[0] == 204
    assert envs(own)["A"] == "newer"


def test_defaults_are_set_when_given(own: Agent) -> None:
    assert init(own, {"defaultUser": "nobody", "defaultWorkdir": "/tmp"})[0] == 204
    assert init(own, {"defaultUser": "", "defaultWorkdir": ""})[0] == 204
    assert own.call("filesystem.Filesystem/Stat", {"path": ""})[1]["entry"]["path"] == "/tmp"


def test_the_clock_is_the_nodes(own: Agent) -> None:
    """A container shares the kernel's clock: `timestamp` orders bodies and sets nothing."""
    assert init(own, {"timestamp": "2037-01-01T00:00:00Z"})[0] == 204
    assert json.loads(own.request("GET", "/metrics")[2])["ts"] < 2_100_000_000


def test_hosts_and_certificates(own: Agent, kept_files: None) -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    for address in ("192.0.2.9", "192.0.2.1"):
        assert init(own, {"hyperloopIP": address, "caBundle": certificate})[0] == 204
    lines = [line for line in Path("/etc/hosts").read_text().splitlines() if "events.e2b.local" in line]
    assert lines == ["192.0.2.1 events.e2b.local"]
    assert envs(own)["E2B_EVENTS_ADDRESS"] == "http://192.0.2.1"
    assert Path(CA_FILE).read_text() == f"{certificate}\n"
    assert Path(CA_BUNDLE).read_text().count(certificate) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"[" * 100_000,
        {"accessToken": ""},
        {"accessToken": 5},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-13-01T00:00:00Z"},
        {"timestamp": "٢٠٢٦-11-01T00:00:00Z"},
        {"envVars": {"A": 5}},
        {"envVars": {"A=B": "c"}},
        {"envVars": {"A": "\0"}},
        {"envVars": {"A": "\ud800"}},
        {"hyperloopIP": "192.0.2.1 evil.example"},
        {"volumeMounts": [{"nfs_target": "a", "path": "/b"}]},
    ],
)
def test_bodies_that_make_no_sense(agent: Agent, body: Any) -> None:
    assert init(agent, body)[0] == 400


def test_the_freeze_family_answers_that_there_is_nothing_to_do(own: Agent) -> None:
    for path in ("/freeze", "/freeze?mode=legacy", "/unfreeze", "/fsfreeze", "/fsthaw"):
        assert own.request("POST", path)[::2] == (204, b"")
    status, _, body = own.request("POST", "/freeze?mode=hierarchy&maxCgroups=5&maxWaitMs=10")
    assert (status, json.loads(body)["mode"], json.loads(body)["frozen"]) == (200, "hierarchy", 0)
    assert own.request("POST", "/freeze?mode=x")[0] == 400
    assert json.loads(own.request("POST", "/collapse")[2])["collapsed"] == 0


def test_upgrade(own: Agent) -> None:
    status, _, body = own.request("POST", "/upgrade", b"ELF")
    assert (status, json.loads(body)["message"]) == (409, "envd not initialized")
    assert init(own, {})[0] == 204
    status, _, body = own.request("POST", "/upgrade", b"ELF", {"x-envd-upgrade-bin": "/bin/sh"})
    assert (status, json.loads(body)["message"]) == (400, "unsupported upgrade target")
    assert own.request("POST", "/upgrade", b"ELF", {"x-envd-upgrade-bin": "/usr/bin/envd.next"})[0] == 501


def test_the_family_needs_the_token(tmp_path: Path) -> None:
    with running_agent(access_token="tok") as agent:
        for path in ("/freeze", "/unfreeze", "/fsfreeze", "/fsthaw", "/collapse", "/upgrade"):
            assert agent.request("POST", path)[0] == 401
