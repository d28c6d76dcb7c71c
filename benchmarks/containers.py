"""What others need to start a container with the same root file system: `runc run`, and `docker run` where a daemon is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.product.instance import Instance

DOCKER_IMAGE = "sandbank-benchmark:base"
FIRST_OUTPUT = "echo ready"


def base_layers(instance: Instance) -> list[Path]:
    """The directories of the `base` template's layers, lowest first, from what the installation keeps on disk."""
    artifacts = instance.data_dir / "artifacts"
    builds = sorted((artifacts / "builds").glob("*.json"), key=lambda path: path.stat().st_mtime)
    names = json.loads(builds[-1].read_text())["layers"]
    return [path if (path := Path(name)).is_absolute() else artifacts / "layers" / name for name in names]


@contextmanager
def runc_bundle(instance: Instance) -> Iterator[Path]:
    """A bundle whose root is an overlay of the template's layers, as sandboxes have."""
    directory = instance.data_dir / f"bundle-{uuid.uuid4().hex[:8]}"
    for name in ("rootfs", "upper", "work"):
        (directory / name).mkdir(parents=True)
    lower = ":".join(str(layer) for layer in reversed(base_layers(instance)))
    options = f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(directory / "rootfs")], check=True)
    try:
        subprocess.run(["runc", "spec"], cwd=directory, check=True)
        config = json.loads((directory / "config.json").read_text())
        config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", FIRST_OUTPUT]}
        config["root"]["readonly"] = False
        (directory / "config.json").write_text(json.dumps(config))
        yield directory
    finally:
        subprocess.run(["umount", str(directory / "rootfs")], check=True)
        shutil.rmtree(directory)


def time_runc(bundle: Path) -> float:
    """Seconds from `runc run` to the first output of the program inside."""
    return _first_output(["runc", "run", "--bundle", str(bundle), f"benchmark-{uuid.uuid4().hex[:8]}"])


def docker_answers() -> bool:
    """Whether a Docker daemon can be used here."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20).returncode == 0


@contextmanager
def docker_image(instance: Instance) -> Iterator[str]:
    """The `base` template's lowest layer as a Docker image."""
    layer = base_layers(instance)[0]
    with subprocess.Popen(["tar", "-C", str(layer), "-c", "."], stdout=subprocess.PIPE) as archive:
        subprocess.run(["docker", "import", "-", DOCKER_IMAGE], stdin=archive.stdout, check=True, capture_output=True)
    try:
        yield DOCKER_IMAGE
    finally:
        subprocess.run(["docker", "rmi", "-f", DOCKER_IMAGE], check=True, capture_output=True)


def time_docker(image: str) -> float:
    """Seconds from `docker run` to the first output of the program inside."""
    return _first_output(["docker", "run", "--rm", image, "/bin/sh", "-c", FIRST_OUTPUT])


def _first_output(command: list[str]) -> float:
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        taken = time.perf_counter() - started
        process.stdout.read()
    if first != b"ready\n" or process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} printed {first!r} and ended with {process.returncode}")
    return taken
