"""How the command behaves as a program."""

from __future__ import annotations

import subprocess
import sys


def sandbank(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbank.cli.main", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "NO_COLOR": "1", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_help_names_every_command() -> None:
    text = sandbank("--help").stdout
    for command in ("up", "down", "status", "doctor"):
        assert f" {command} " in text
    assert "serve-detached" not in text


def test_a_wrong_setting_is_one_line_that_names_it() -> None:
    done = sandbank("status", SANDBANK_API_PORT="many")
    assert done.returncode == 1
    assert done.stderr.startswith("sandbank: SANDBANK_API_PORT: ")
    assert len(done.stderr.splitlines()) == 1
