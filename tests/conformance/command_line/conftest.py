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


def attempt(environment: dict[str, str], *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Runs a command to its end: its status, and what it printed and complained of, without colours."""
    done = subprocess.run(["e2b", *arguments], env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, _COLOURS.sub("", done.stdout), _COLOURS.sub("", done.stderr)


@pytest.fixture(scope="module")
def e2b(e2b_environment: dict[str, str]) -> Run:
    """Runs a command that must succeed; its output without colours."""

    def run(*arguments: str, stdin: str = "") -> str:
        status, printed, complaints = attempt(e2b_environment, *arguments, stdin=stdin)
        assert status == 0, printed + complaints
        return printed

    return run
