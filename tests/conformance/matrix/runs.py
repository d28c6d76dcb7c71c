"""Runs the scenario of a release, by name over TLS: the one way that all releases know."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.domain.clients import local_address
from tests.conformance.matrix.releases import HERE, RELEASES, Release, install
from tests.product.instance import COLD_START_SECONDS, SEEDED_API_KEY, Instance, wait_until

AT_ONCE = 3
NOT_YET: dict[str, str] = {}
"""What the product does not have: refused with these words."""
SCENARIOS = {
    "python": "scenario.py",
    "python-code-interpreter": "interpreter_scenario.py",
    "javascript": "scenario.mjs",
    "javascript-code-interpreter": "interpreter_scenario.mjs",
    "cli": "cli_scenario.py",
}

Outcomes = dict[str, str]
"""By capability: `passed`, `absent` in this release, or the text of the failure."""


def run(release: Release, server: Instance) -> Outcomes:
    """All capabilities of one release; raises with its words when it did not get to report them."""
    address = local_address(server)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("E2B_", "PYTHON"))}
    environment |= {"E2B_API_KEY": SEEDED_API_KEY, "E2B_DOMAIN": address.domain, **address.trust(), "NO_UPDATE_NOTIFIER": "1"}
    scenario = str(HERE / SCENARIOS[release.client])
    if release.in_python:
        environment["PYTHONPATH"] = str(release.directory)
        # Without this environment's own packages, among them the newest release.
        interpreter = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        command = [str(interpreter), "-s", scenario]
    elif release.client == "cli":
        command = [sys.executable, scenario]
        environment["PATH"] = f"{release.directory / 'node_modules' / '.bin'}:{environment['PATH']}"
    else:
        command = ["node", scenario]
    done = subprocess.run(command, cwd=release.directory, env=environment, capture_output=True, text=True, timeout=300, check=False)
    try:
        report = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise AssertionError(f"{release} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}") from None
    if report["release"] != release.version:
        raise AssertionError(f"{report['release']} ran instead of {release}")
    outcomes: Outcomes = report["outcomes"]
    return outcomes


def run_all(server: Instance) -> dict[Release, Outcomes | Exception]:
    """Every release, a few at a time, once there is all that they ask for; an exception where one could not report."""
    wait_until(lambda: _offers(server, "code-interpreter-v1"), "code-interpreter-v1 is built", seconds=COLD_START_SECONDS, every=0.5)

    def one(release: Release) -> Outcomes | Exception:
        try:
            install(release)
            return run(release, server)
        except Exception as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(RELEASES, pool.map(one, RELEASES), strict=True))


def _offers(server: Instance, name: str) -> bool:
    request = urllib.request.Request(f"{server.api_url}/default-templates", headers={"X-API-Key": SEEDED_API_KEY})
    with urllib.request.urlopen(request) as answer:
        return any(name in template["names"] and template["buildStatus"] == "ready" for template in json.load(answer))
