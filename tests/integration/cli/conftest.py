"""An installation for the command line's tests, with the base template of the one that the other tests use."""

from __future__ import annotations

import asyncio
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
def layers() -> list[Path]:
    """What the base template is made of, bootstrapped once for all tests; takes a minute if nobody has done it yet."""
    assert os.geteuid() == 0, "sandboxes need root"
    path = for_tests().data_dir / "artifacts"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    images = wiring.build_images(path, TemplateSettings(mirrors="node"))
    return list(asyncio.run(images.get(wiring.BASE_IMAGE, None, force=False, log=print)).layers)


@pytest.fixture
def instance(tmp_path: Path, layers: list[Path]) -> Iterator[Instance]:
    """Not running yet; stopped afterwards, and nothing of it may be left."""
    made = Instance(
        name="cli",
        data_dir=tmp_path / "data",
        run_dir=tmp_path / "run",
        subnet="10.216.0.0/16",
        uid_base=700_000_000,
        first_port=PORT,
        extra={
            "SANDBANK_ORCHESTRATOR_PROXY_PORT": str(PORT + 7),
            "SANDBANK_ORCHESTRATOR_PORT": str(PORT + 8),
            "SANDBANK_DOCKER_REVERSE_PROXY_PORT": str(PORT + 5),
            "SANDBANK_DOCKER_STORE_PORT": str(PORT + 6),
        },
    )
    made.data_dir.mkdir(mode=0o700)
    kept = made.data_dir / "artifacts" / "layers"
    kept.mkdir(parents=True)
    for layer in layers:
        (kept / layer.name).symlink_to(layer)
    yield made
    made.down()
    assert_nothing_left(made)
