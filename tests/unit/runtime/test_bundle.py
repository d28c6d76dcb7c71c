"""What an agent bundle is named by and how a program is started from one; `tests/integration/runtime` runs real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.runtime.bundle import assemble, inputs


def test_a_name_stands_for_the_same_content() -> None:
    assert inputs.fingerprint() == inputs.fingerprint()
    assert len(inputs.fingerprint()) == 24


def test_changed_code_gets_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = inputs.fingerprint()
    monkeypatch.setattr(inputs, "OWN_PACKAGES", ("domain",))
    assert inputs.fingerprint() != before


def test_only_what_agents_need_goes_in() -> None:
    paths = {path for _, path in inputs.library_files()}
    assert {"sandbank/envd/agent.py", "sandbank/zygote/__main__.py", "sandbank/version.py"} <= paths
    assert not [path for path in paths if path.startswith(("sandbank/api", "sandbank/cli", "sandbank/db")) or path.endswith(".pyc")]
    library = {path for _, path in inputs.standard_library_files()}
    assert "asyncio/base_events.py" in library
    assert not [path for path in library if path.startswith(("test/", "tkinter/", "site-packages/"))]


def test_a_program_runs_by_the_bundles_own_loader_and_sees_nothing_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "ld-linux-x86-64.so.2").touch()
    words = assemble.command(tmp_path, "some.module", "word")
    assert words[0] == str(tmp_path / "lib" / "ld-linux-x86-64.so.2")
    assert words[-2:] == ["some.module", "word"]
    monkeypatch.setenv("A_SECRET", "of the node")
    assert "A_SECRET" not in assemble.environment(tmp_path)
    assert assemble.environment(tmp_path)["UV_USE_IO_URING"] == "0"


def test_a_bundle_is_complete_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(target: Path) -> None:
        target.mkdir()
        (target / "half").touch()
        raise OSError("no space")

    monkeypatch.setattr(assemble, "_assemble", fail)
    with pytest.raises(OSError, match="no space"):
        assemble.find_or_assemble(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(assemble, "_assemble", lambda target: target.mkdir())
    bundle = assemble.find_or_assemble(tmp_path)
    assert bundle == tmp_path / inputs.fingerprint()
    monkeypatch.setattr(assemble, "_assemble", fail)
    assert assemble.find_or_assemble(tmp_path) == bundle  # found, not made again
