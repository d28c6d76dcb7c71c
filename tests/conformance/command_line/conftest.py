"""The real command line, pointed at the installation."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable

import pytest

from tests.conformance.matrix.releases import RELEASES, install
from tests.product.instance import SEEDED_API_KEY, Instance

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

Run = Callable[..., str]


@pytest.fixture(scope="module")
def e2b_environment(server: Instance) -> dict[str, str]:
    """`e2b` is on the path; no configuration of anybody's is read."""
    release = next(release for release in RELEASES if release.client == "cli")
    install(release)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("E2B_")}
    return variables | {
        "E2B_API_KEY": SEEDED_API_KEY,
        "E2B_API_URL": server.api_url,
        "E2B_SANDBOX_URL": server.sandbox_url,
        "NO_UPDATE_NOTIFIER": "1",
        "PATH": f"{release.directory / 'node_modules' / '.bin'}:{variables['PATH']}",
        "HOME": "/nonexistent",
    }


@pytest.fixture(scope="module")
def e2b(e2b_environment: dict[str, str]) -> Run:
    """Runs a command that must succeed; its output without colours."""

    def run(*arguments: str) -> str:
        done = subprocess.run(["e2b", *arguments], env=e2b_environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return _COLOURS.sub("", done.stdout)

    return run
