"""Runs the JavaScript cases with Node's test runner and reports every case as a test of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.product.instance import Instance

HERE = Path(__file__).parent
CASE = re.compile(r"^test\('((?:[^'\\]|\\.)+)'", re.MULTILINE)
CASES = [(path.name, name) for path in sorted(HERE.glob("*.test.mjs")) for name in CASE.findall(path.read_text())]

Outcomes = dict[str, dict[str, str | None]]


@pytest.fixture(scope="module")
def packages() -> None:
    """The pinned SDK, installed from the lock file unless it is already there."""
    installed = HERE / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime:
        return
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"npm ci failed:\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def outcomes(server: Instance, packages: None) -> Outcomes:
    """What became of each case, by file: `None` for success, else the failure's text."""
    return {}


def run_file(server: Instance, name: str) -> dict[str, str | None]:
    """Runs one file of cases to its end."""
    done = subprocess.run(
        ["node", "--test", "--test-reporter=junit", name],
        cwd=HERE,
        env={**os.environ, **server.client_environment(), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    try:
        root = ElementTree.fromstring(done.stdout)
    except ElementTree.ParseError as error:
        raise AssertionError(f"node --test {name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}") from error
    found: dict[str, str | None] = {}
    for case in root.iter("testcase"):
        failure = case.find("failure")
        found[case.attrib["name"]] = None if failure is None else f"{failure.attrib.get('message')}\n{failure.text}"
    return found


@pytest.mark.parametrize(("file", "name"), CASES, ids=[f"{file.split('.')[0]}: {name}" for file, name in CASES])
def test_case(outcomes: Outcomes, server: Instance, file: str, name: str) -> None:
    if file not in outcomes:
        outcomes[file] = run_file(server, file)
    assert name in outcomes[file], f"the case did not run; there were {list(outcomes[file])}"
    assert outcomes[file][name] is None, outcomes[file][name]


def test_every_file_has_cases() -> None:
    assert {file for file, _ in CASES} == {path.name for path in HERE.glob("*.test.mjs")}
