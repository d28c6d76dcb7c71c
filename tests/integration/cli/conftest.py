"""An installation for the command line's tests, with the base template of the one that the other tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbank.template_manager import wiring
from sandbank.template_manager.settings import TemplateSettings
from tests.product.instance import Instance, for_tests
from tests.product.serving import assert_nothing_left

PORT = 25000


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Built once for all tests; takes a minute if nobody has done it yet."""
    assert os.geteuid() == 0, "sandboxes need root"
    path = for_tests().data_dir / "artifacts"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    wiring.build(path, TemplateSettings(mirrors="node")).prepare(print)
    return path


@pytest.fixture
def instance(tmp_path: Path, artifacts: Path) -> Iterator[Instance]:
    """Not running yet; stopped afterwards, and nothing of it may be left."""
    made = Instance(
        name="cli",
        data_dir=tmp_path / "data",
        run_dir=tmp_path / "run",
        subnet="10.216.0.0/16",
        uid_base=700_000_000,
        first_port=PORT,
        extra={"SANDBANK_ORCHESTRATOR_PROXY_PORT": str(PORT + 7), "SANDBANK_ORCHESTRATOR_PORT": str(PORT + 8)},
    )
    made.data_dir.mkdir(mode=0o700)
    (made.data_dir / "artifacts").symlink_to(artifacts)
    yield made
    made.down()
    assert_nothing_left(made)
