"""Sandboxes to break out of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2b import CommandExitException, Sandbox

from tests.product.instance import Instance

PROBE = (Path(__file__).parents[1] / "guest" / "probe.py").read_text()


@dataclass(frozen=True)
class Outcome:
    """What became of a command."""

    code: int
    output: str


Attempt = Callable[..., Outcome]


def attempt(sandbox: Sandbox, command: str, *, user: str = "root", timeout: float = 60) -> Outcome:
    """Runs a command to its end, whatever its exit code; the output has both streams."""
    try:
        result = sandbox.commands.run(command, user=user, timeout=timeout)
    except CommandExitException as error:
        return Outcome(error.exit_code, error.stdout + error.stderr)
    return Outcome(result.exit_code, result.stdout + result.stderr)


@pytest.fixture(scope="module")
def sandbox(server: Instance) -> Iterator[Sandbox]:
    """A sandbox with a program to probe system calls with."""
    made = Sandbox.create(timeout=900)
    made.files.write("/usr/local/bin/probe", PROBE, user="root")
    made.commands.run("chmod 755 /usr/local/bin/probe", user="root")
    yield made
    assert made.kill() is True


@pytest.fixture(scope="module")
def neighbour(server: Instance) -> Iterator[Sandbox]:
    """A second sandbox on the same node."""
    made = Sandbox.create(timeout=900)
    yield made
    assert made.kill() is True
