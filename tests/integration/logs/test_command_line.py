"""`e2b sandbox logs` of the real command line (sdk-latest contract §5)."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2b import Sandbox

from tests.conformance.matrix.releases import RELEASES, install
from tests.product.instance import SEEDED_API_KEY, Instance, wait_until

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def environment(server: Instance) -> dict[str, str]:
    """The command line on the path, pointed at the installation."""
    release = next(release for release in RELEASES if release.client == "cli")
    install(release)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("E2B_")}
    return variables | {
        "E2B_API_KEY": SEEDED_API_KEY,
        "E2B_API_URL": server.api_url,
        "E2B_SANDBOX_URL": server.sandbox_url,
        "NO_UPDATE_NOTIFIER": "1",
        "PATH": f"{release.directory / 'node_modules' / '.bin'}:{variables['PATH']}",
        "HOME": str(Path("/nonexistent")),
    }


@pytest.fixture(scope="module")
def sandbox(environment: dict[str, str]) -> Iterator[Sandbox]:
    """One with lines of every level."""
    with Sandbox.create(timeout=120) as sandbox:
        sandbox.commands.run("echo hello-log")
        sandbox.files.write("/tmp/a", "b")
        assert not sandbox.files.exists("/does/not/exist")
        wait_until(lambda: len(logs(environment, sandbox, "--level", "debug").splitlines()) > 6, "lines have come")
        yield sandbox


def logs(environment: dict[str, str], sandbox: Sandbox, *options: str) -> str:
    done = subprocess.run(
        ["e2b", "sandbox", "logs", *options, sandbox.sandbox_id], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return _COLOURS.sub("", done.stdout)


def test_plain_output_shows_messages_from_info_on(environment: dict[str, str], sandbox: Sandbox) -> None:
    text = logs(environment, sandbox)
    assert "started" in text
    assert "hello-log" in text
    assert "POST /files 200" not in text


def test_json_output_is_one_object_per_line(environment: dict[str, str], sandbox: Sandbox) -> None:
    lines = [json.loads(line) for line in logs(environment, sandbox, "--format", "json").splitlines() if line.strip()]
    assert {"timestamp", "level", "message", "logger"} <= set.intersection(*[set(line) for line in lines])
    assert not {"teamID", "envID", "sandboxID", "instanceID", "service"} & lines[0].keys()


def test_levels_are_filtered(environment: dict[str, str], sandbox: Sandbox) -> None:
    everything, warnings = (logs(environment, sandbox, "--level", level, "--format", "json") for level in ("debug", "warn"))
    assert "POST /files 200" in everything
    assert "started" in everything
    assert "POST /files 200" not in warnings


def test_loggers_are_filtered_by_their_beginning(environment: dict[str, str], sandbox: Sandbox) -> None:
    text = logs(environment, sandbox, "--level", "debug", "--format", "json", "--loggers=proc,nothing")
    found = [json.loads(line)["logger"] for line in text.splitlines() if line.strip()]
    assert set(found) == {"process"}


def test_following_shows_new_lines_until_the_sandbox_ends(environment: dict[str, str]) -> None:
    with Sandbox.create(timeout=120) as sandbox:
        command = ["e2b", "sandbox", "logs", "--follow", sandbox.sandbox_id]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as follower:
            assert follower.stdout is not None
            seen: list[str] = []
            for number in range(3):
                sandbox.commands.run(f"echo followed-{number}")
                while f"followed-{number}" not in "".join(seen):
                    line = follower.stdout.readline()
                    assert line, "".join(seen)
                    seen.append(line)
            sandbox.kill()
            rest = follower.communicate(timeout=30)[0]
    assert follower.returncode == 0, rest
    assert "Stopped printing logs" in rest
    assert "closed" in rest


def test_an_unknown_sandbox_is_said_to_have_none(environment: dict[str, str]) -> None:
    command = ["e2b", "sandbox", "logs", "iabcdefghijklmnopqrst"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
