"""A node of its own: instance `oc`, subnet 10.214.0.0/16, uids from 400,000,000, ports the kernel chooses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbank.artifacts.builds import Build, BuildStore
from sandbank.orchestrator.settings import OrchestratorSettings

DATA_DIR = Path("/tmp/oc-data")  # a fixed place: the agent bundle in it is assembled once and not for every run

_DIRECTORIES = ("bin", "dev", "etc", "home/user", "proc", "root", "run", "sys", "tmp", "usr/bin", "var/tmp")


@pytest.fixture(scope="session")
def layer() -> Path:
    """The least that an agent finds its way in: accounts and mount points. It has no program to run."""
    assert os.geteuid() == 0, "sandboxes need root"
    layer = DATA_DIR / "artifacts" / "layers" / "bare"
    shutil.rmtree(layer, ignore_errors=True)
    for directory in _DIRECTORIES:
        (layer / directory).mkdir(parents=True)
    os.chown(layer / "home/user", 1000, 1000)
    (layer / "tmp").chmod(0o1777)
    (layer / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000::/home/user:/bin/bash\n")
    (layer / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    BuildStore(DATA_DIR / "artifacts").publish(Build(build_id="build", template_id="base", layers=(layer,)))
    return layer


@pytest.fixture
def settings(layer: Path) -> Iterator[OrchestratorSettings]:
    """A node without sandboxes."""
    settings = OrchestratorSettings(
        data_dir=DATA_DIR,
        run_dir=DATA_DIR / "run",
        instance="oc",
        subnet="10.214.0.0/16",
        uid_base=400_000_000,
        max_slots=256,
        orchestrator_port=0,
        orchestrator_proxy_port=0,
        node_id="node",
    )
    settings.run_dir.mkdir(exist_ok=True)
    yield settings
    shutil.rmtree(DATA_DIR / "records", ignore_errors=True)
