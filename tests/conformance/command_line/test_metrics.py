"""`e2b sandbox metrics` of the real command line (sdk-latest contract §5, rest-api contract §12.1)."""

from __future__ import annotations

import json
import subprocess

from e2b import Sandbox

from tests.conformance.command_line.conftest import Run
from tests.product.instance import wait_until


def test_metrics_are_printed_for_people_and_for_machines(e2b: Run) -> None:
    with Sandbox.create(timeout=120) as sandbox:
        wait_until(lambda: "CPU" in e2b("sandbox", "metrics", sandbox.sandbox_id), "a first point has come", seconds=40)
        found = [
            json.loads(line) for line in e2b("sandbox", "metrics", "--format", "json", sandbox.sandbox_id).splitlines() if line.strip()
        ]
    assert {"timestamp", "cpuCount", "cpuUsedPct", "memUsed", "memTotal", "diskUsed", "diskTotal"} <= found[0].keys()
    assert found[0]["memTotal"] > found[0]["memUsed"] > 0


def test_a_sandbox_that_is_not_there_has_no_metrics(e2b: Run) -> None:
    assert "not found" in e2b("sandbox", "metrics", "iabcdefghijklmnopqrst")


def test_following_metrics_shows_new_points(e2b_environment: dict[str, str]) -> None:
    """The client asks once whether the sandbox runs and then goes on until it is interrupted; it must get points until then."""
    with Sandbox.create(timeout=120) as sandbox:
        command = ["e2b", "sandbox", "metrics", "--follow", "--format", "json", sandbox.sandbox_id]
        with subprocess.Popen(command, env=e2b_environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as follower:
            assert follower.stdout is not None
            points = 0
            while points < 2:
                line = follower.stdout.readline()
                assert line, "the command ended"
                points += line.startswith("{")
            follower.terminate()
            follower.communicate(timeout=30)
