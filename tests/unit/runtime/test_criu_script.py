"""What `scripts/criu.sh` does where there is nothing to install; installing is what `make test` begins with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).parents[3] / "scripts/criu.sh"


def _run(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "SANDBANK_CRIU": "", "SANDBANK_CRIU_HOME": str(home), **environment}
    return subprocess.run([_SCRIPT, *arguments], env=variables, capture_output=True, text=True, check=False)


def _program(path: Path, version: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho Version: {version}\n")
    path.chmod(0o755)
    return str(path)


def test_nothing_happens_where_there_is_one(tmp_path: Path) -> None:
    for version in ("4.2", "4.10.1", "5.0", "10.0"):
        _program(tmp_path / "criu-there/bin/criu", version)
        done = _run(tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["criu-there"]


def test_a_named_one_that_is_too_old_is_an_error_in_one_line(tmp_path: Path) -> None:
    for version in ("3.17.1", "4.1.1", "4.1"):
        named = _program(tmp_path / "criu", version)
        done = _run(tmp_path / "home", SANDBANK_CRIU=named)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert f"{named}, which SANDBANK_CRIU names, is not CRIU 4.2 or newer" in done.stderr


def test_what_is_optional_is_said_and_no_error(tmp_path: Path) -> None:
    done = _run(tmp_path / "home", "--optional", SANDBANK_CRIU=str(tmp_path / "nowhere"))
    assert done.returncode == 0
    assert done.stderr.startswith("no CRIU: ")
    assert done.stderr.count("\n") == 1
