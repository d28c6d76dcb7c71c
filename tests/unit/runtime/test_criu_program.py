"""Which CRIU is taken, and what is said when none will do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.runtime.snapshot import criu_program
from sandbank.runtime.snapshot.criu_program import find_criu


def _program(path: Path, version: str, *, check: str = "true", tracking: str = "false") -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(
        f'#!/bin/sh\ncase "$*" in\n--version) echo "Version: {version}" ;;\n*mem_dirty_track*) {tracking} ;;\n*) {check} ;;\nesac\n'
    )
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(criu_program, "_SYSTEM_PATH", "/nonexistent")


def test_the_newest_private_one_is_taken(tmp_path: Path) -> None:
    _program(tmp_path / "criu-4.2.1/bin/criu", "4.2.1")
    newest = _program(tmp_path / "criu-4.10/bin/criu", "4.10", tracking="true")
    found = find_criu(None, tmp_path)
    assert (found.usable_path, found.version, found.problem, found.tracks_memory) == (newest, "4.10", "", True)


def test_a_named_one_is_taken_or_none(tmp_path: Path) -> None:
    _program(tmp_path / "criu-4.2/bin/criu", "4.2")
    named = _program(tmp_path / "mine/criu", "4.3")
    assert find_criu(named, tmp_path).usable_path == named
    missing = find_criu(tmp_path / "nowhere", tmp_path)
    assert missing.usable_path is None
    assert "No such file" in missing.problem
    assert "SANDBANK_CRIU" in missing.fix


def test_an_old_one_is_refused_with_both_versions(tmp_path: Path) -> None:
    found = find_criu(_program(tmp_path / "old/criu", "3.17.1"))
    assert found.usable_path is None
    assert "3.17.1, older than 4.2" in found.problem


def test_one_that_cannot_work_here_says_why(tmp_path: Path) -> None:
    path = _program(tmp_path / "new/criu", "4.2", check="echo 'Error: no such thing in this kernel'; exit 1")
    found = find_criu(path)
    assert found.usable_path is None
    assert found.problem.endswith("no such thing in this kernel")


def test_what_is_no_criu_at_all_is_refused() -> None:
    assert "does not run" in find_criu(Path("/bin/false")).problem
    assert find_criu(None, Path("/nonexistent")).problem == "not installed"


def test_a_replaced_program_is_looked_at_again(tmp_path: Path) -> None:
    path = _program(tmp_path / "a/criu", "4.1")
    assert find_criu(path).usable_path is None
    path.write_text(path.read_text().replace("4.1", "4.2"))
    assert find_criu(path).usable_path == path
