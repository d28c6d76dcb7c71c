"""One holder at a time, and notes that are only believed while somebody holds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbank.cli.installation import Installation, RunningService
from sandbank.cli.settings import NodeSettings
from sandbank.domain.errors import ConflictError

SERVICE = RunningService(
    pid=1, started_at="2026-01-01T00:00:00+00:00", api_url="http://localhost:3000", sandbox_url="http://localhost:3002"
)


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    return NodeSettings(data_dir=tmp_path / "data", run_dir=tmp_path / "run")


@pytest.fixture
def holder(settings: NodeSettings) -> Installation:
    installation = Installation(settings)
    installation.make_directories()
    assert installation.try_lock()
    return installation


def test_directories_are_for_root_alone(settings: NodeSettings, holder: Installation) -> None:
    assert settings.data_dir.stat().st_mode & 0o777 == 0o700
    assert settings.run_dir.stat().st_mode & 0o777 == 0o700


def test_a_second_holder_is_refused_until_the_first_lets_go(settings: NodeSettings, holder: Installation) -> None:
    second = Installation(settings)
    assert not second.try_lock()
    assert second.is_held()
    holder.unlock()
    assert not second.is_held()
    assert second.try_lock()


def test_the_lock_lasts_as_long_as_an_inherited_descriptor(settings: NodeSettings, holder: Installation) -> None:
    inherited = os.dup(holder.lock_descriptor)
    holder.unlock()
    second = Installation(settings)
    assert second.is_held()
    Installation(settings).adopt_lock(inherited).unlock()
    assert not second.is_held()


def test_a_service_is_found_while_it_runs_and_remembered_after_it_died(settings: NodeSettings, holder: Installation) -> None:
    reader = Installation(settings)
    assert reader.find_service() is None
    holder.note(SERVICE)
    assert reader.find_service() == SERVICE
    holder.unlock()
    assert reader.find_service() is None
    assert reader.last_service() == SERVICE
    holder.forget()
    assert reader.last_service() is None
    assert list(settings.run_dir.iterdir()) == []


def test_a_starting_service_cannot_be_asked_to_end(settings: NodeSettings, holder: Installation) -> None:
    with pytest.raises(ConflictError):
        Installation(settings).ask_to_end(end_sandboxes=True, timeout_seconds=1)


def test_an_installation_that_never_was_is_not_held(settings: NodeSettings) -> None:
    assert not Installation(settings).is_held()
    assert Installation(settings).last_service() is None
