"""What a builder is told of `code-interpreter-v1`."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

import sandbank.code_interpreter
from sandbank.code_interpreter.archive import archive
from sandbank.code_interpreter.recipe import Profile, recipe

REQUIREMENTS = Path(sandbank.code_interpreter.__file__).parent / "requirements"


@pytest.mark.parametrize("profile", Profile)
def test_a_step_that_copies_has_an_archive_with_its_source(profile: Profile) -> None:
    for step in recipe(profile).steps:
        assert (step.files is not None) == (step.type == "COPY")
        if step.files is not None:
            with tarfile.open(fileobj=io.BytesIO(step.files.content)) as tar:
                assert {name.split("/")[0] for name in tar.getnames()} == {step.args[0]}


@pytest.mark.parametrize("profile", Profile)
def test_every_package_is_pinned(profile: Profile) -> None:
    for name in (profile.value, "server"):
        lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
        assert lines
        assert all("==" in line for line in lines)


def test_sandboxes_of_the_template_are_the_default_users() -> None:
    assert [step.args for step in recipe(Profile.MINIMAL).steps[-2:]] == [("user",), ("/home/user",)]


def test_an_archive_is_the_same_whenever_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy with other times and modes, and with what running it leaves, has the same hash; other content has another."""
    monkeypatch.setattr("sandbank.code_interpreter.archive.HERE", tmp_path)
    (tmp_path / "guest" / "__pycache__").mkdir(parents=True)
    file = tmp_path / "guest" / "server.py"
    file.write_text("1")
    first = archive("guest")
    file.touch()
    file.chmod(0o600)
    (tmp_path / "guest" / "__pycache__" / "server.pyc").write_text("2")
    assert archive("guest").sha256 == first.sha256
    file.write_text("3")
    assert archive("guest").sha256 != first.sha256
