"""`e2b sandbox list`, `kill` and `info` of the real command line (sdk-latest contract §5, rest-api contract §8.2, §8.3, §8.5)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from e2b import Sandbox

from tests.conformance.command_line.conftest import Run, attempt

NOTE = "ü b&c/d%20"
NOBODY = "iabcdefghijklmnopqrst"


@pytest.fixture(scope="module")
def run_id() -> str:
    """What the sandboxes of this module are known by."""
    return secrets.token_hex(6)


@pytest.fixture(scope="module")
def sandboxes(e2b: Run, run_id: str) -> Iterator[list[str]]:
    """Three, in the order of their start; the installation runs, since the command does."""
    made = [Sandbox.create(timeout=300, metadata={"run": run_id, "number": str(number), "note": NOTE}) for number in range(3)]
    yield [sandbox.sandbox_id for sandbox in made]
    for sandbox in made:
        sandbox.kill()


@pytest.fixture(scope="module")
def listed(e2b: Run, run_id: str, sandboxes: list[str]) -> list[dict[str, Any]]:
    """What the command says of them."""
    found: list[dict[str, Any]] = json.loads(e2b("sandbox", "list", "--format", "json", "--metadata", f"run={run_id}"))
    return found


def ids(text: str) -> list[str]:
    return [one["sandboxId"] for one in json.loads(text)]


def test_json_has_what_programs_read(listed: list[dict[str, Any]], sandboxes: list[str], run_id: str) -> None:
    assert [one["sandboxId"] for one in listed] == sandboxes
    first = listed[0]
    assert (first["name"], first["state"]) == ("base", "running")
    assert first["metadata"] == {"run": run_id, "number": "0", "note": NOTE}
    assert first["cpuCount"] > 0
    assert first["memoryMB"] > 0
    assert {"templateId", "envdVersion"} <= first.keys()
    assert datetime.fromisoformat(first["startedAt"]) < datetime.now(UTC) < datetime.fromisoformat(first["endAt"])


def test_filters_and_order_are_combined(e2b: Run, listed: list[dict[str, Any]], sandboxes: list[str], run_id: str) -> None:
    since = listed[1]["startedAt"]
    arguments = ["--template", "base", "--state", "running,paused", "--order", "desc", "--started-after", since, "--limit", "0"]
    assert ids(e2b("sandbox", "ls", "-f", "json", "-m", f"run={run_id}", *arguments)) == [sandboxes[2], sandboxes[1]]


def test_a_filter_by_metadata_takes_any_text(e2b: Run, run_id: str, sandboxes: list[str]) -> None:
    """§8.5: the client encodes what is encoded already."""
    assert ids(e2b("sandbox", "list", "-f", "json", "-m", f"run={run_id},number=1,note={NOTE}")) == [sandboxes[1]]


def test_a_limit_is_kept_and_said(e2b: Run, run_id: str, sandboxes: list[str]) -> None:
    text = e2b("sandbox", "list", "--limit", "2", "-m", f"run={run_id}")
    assert "Showing first 2 sandboxes" in text
    assert sum(sandbox_id in text for sandbox_id in sandboxes) == 2
    for heading in ("SANDBOX ID", "TEMPLATE ID", "ALIAS", "STATE", "VCPUS", "RAM MIB", "ENVD VERSION", "METADATA"):
        assert heading in text


@pytest.mark.parametrize(
    "filters", [("--state", "paused"), ("--template", "no-such-template"), ("--started-after", "2999-01-01T00:00:00Z")]
)
def test_what_does_not_match_is_not_there(e2b: Run, run_id: str, sandboxes: list[str], filters: tuple[str, str]) -> None:
    assert "No sandboxes found" in e2b("sandbox", "list", "-m", f"run={run_id}", *filters)


def test_info_is_printed_for_people_and_for_machines(e2b: Run, sandboxes: list[str], run_id: str) -> None:
    told = json.loads(e2b("sandbox", "info", "--format", "json", sandboxes[0]))
    assert (told["sandboxId"], told["state"], told["metadata"]["run"]) == (sandboxes[0], "running", run_id)
    text = e2b("sandbox", "in", sandboxes[0])
    for part in (f"Sandbox info for {sandboxes[0]}", "Alias: base", "State: running", "vCPUs:", "RAM MiB:", "Envd version:", run_id):
        assert part in text


def test_info_of_a_stranger_says_that_it_is_not_there(e2b_environment: dict[str, str]) -> None:
    status, _, complaint = attempt(e2b_environment, "sandbox", "info", NOBODY)
    assert status == 1
    assert complaint.strip() == f"Sandbox {NOBODY} wasn't found"


def test_kill_takes_several_and_names_those_that_are_not_there(e2b_environment: dict[str, str]) -> None:
    made = [Sandbox.create(timeout=60).sandbox_id for _ in range(2)]
    status, printed, complaint = attempt(e2b_environment, "sandbox", "kill", *made, NOBODY)
    assert status == 0
    assert sorted(printed.splitlines()) == sorted(f"Sandbox {sandbox_id} has been killed" for sandbox_id in made)
    assert complaint.strip() == f"Sandbox {NOBODY} wasn't found"
    for sandbox_id in made:
        assert not Sandbox.kill(sandbox_id)


def test_kill_all_keeps_to_its_filters(e2b: Run, run_id: str, sandboxes: list[str]) -> None:
    mine = {"run": f"other-{run_id}"}
    for _ in range(2):
        Sandbox.create(timeout=60, metadata=mine)
    filters = ["--all", "--metadata", f"run={mine['run']}"]
    assert "No running sandboxes" in e2b("sandbox", "kill", *filters, "--state", "paused")
    assert "Killed 2 running sandboxes" in e2b("sandbox", "kl", *filters)
    assert "No running sandboxes" in e2b("sandbox", "kill", *filters)
    assert set(sandboxes) <= {one.sandbox_id for one in Sandbox.list(limit=100).next_items()}
