"""`e2b sandbox logs` of the real command line (sdk-latest contract §5, rest-api contract §13.1)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from e2b import Sandbox

from tests.conformance.command_line.conftest import Run
from tests.product.instance import wait_until


@pytest.fixture(scope="module")
def sandbox(e2b: Run) -> Iterator[Sandbox]:
    """One with lines of several levels."""
    with Sandbox.create(timeout=120) as sandbox:
        sandbox.commands.run("echo hello-log")
        sandbox.files.write("/tmp/a", "b")
        assert not sandbox.files.exists("/does/not/exist")
        wait_until(lambda: "Stat 404" in e2b("sandbox", "logs", "--level", "debug", sandbox.sandbox_id), "lines have come", seconds=30)
        yield sandbox


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def test_plain_output_shows_messages_from_info_on(e2b: Run, sandbox: Sandbox) -> None:
    text = e2b("sandbox", "logs", sandbox.sandbox_id)
    assert "Sandbox created" in text
    assert "started" in text
    assert "hello-log" in text
    assert "POST /files 200" not in text


def test_json_output_is_one_object_per_line(e2b: Run, sandbox: Sandbox) -> None:
    found = lines(e2b("sandbox", "logs", "--format", "json", sandbox.sandbox_id))
    assert {"timestamp", "level", "message", "logger"} <= set.intersection(*[set(line) for line in found])
    assert not {"teamID", "envID", "sandboxID", "instanceID", "service"} & found[0].keys()


def test_levels_are_filtered(e2b: Run, sandbox: Sandbox) -> None:
    everything, warnings = (e2b("sandbox", "logs", "--level", level, "--format", "json", sandbox.sandbox_id) for level in ("debug", "warn"))
    assert "POST /files 200" in everything
    assert "started" in everything
    assert {line["level"] for line in lines(warnings)} == {"warn"}


def test_loggers_are_filtered_by_their_beginning(e2b: Run, sandbox: Sandbox) -> None:
    found = lines(e2b("sandbox", "logs", "--level", "debug", "--format", "json", "--loggers=proc,nothing", sandbox.sandbox_id))
    assert {line["logger"] for line in found} == {"process"}


def test_following_shows_new_lines_until_the_sandbox_ends(e2b_environment: dict[str, str]) -> None:
    with Sandbox.create(timeout=120) as sandbox:
        command = ["e2b", "sandbox", "logs", "--follow", sandbox.sandbox_id]
        with subprocess.Popen(command, env=e2b_environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as follower:
            assert follower.stdout is not None
            seen = ""
            for number in range(3):
                sandbox.commands.run(f"echo followed-{number}")
                while f"followed-{number}" not in seen:
                    line = follower.stdout.readline()
                    assert line, seen
                    seen += line
            sandbox.kill()
            rest = follower.communicate(timeout=30)[0]
    assert follower.returncode == 0, rest
    assert "Stopped printing logs" in rest
    assert "closed" in rest


def test_the_end_of_a_sandbox_is_in_its_log(e2b: Run) -> None:
    with Sandbox.create(timeout=60) as sandbox:
        pass
    wait_until(lambda: "Sandbox killed: request" in e2b("sandbox", "logs", sandbox.sandbox_id), "the end is told", seconds=30)


def test_an_unknown_sandbox_has_no_log_and_is_no_error(e2b: Run) -> None:
    assert lines(e2b("sandbox", "logs", "--format", "json", "iabcdefghijklmnopqrst")) == []
