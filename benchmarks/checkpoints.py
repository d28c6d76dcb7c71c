"""What others need for the same: `runc checkpoint` and `runc restore`, with the CRIU that Sandbank uses, of the same program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.containers import runc_bundle
from sandbank.runtime.snapshot.criu_program import find_criu
from tests.product.instance import Instance, wait_until


class RuncContainer:
    """A container that runs `python3 -c <program>` on the `base` template, until it is checkpointed, and again when it is restored."""

    def __init__(self, bundle: Path, criu: Path) -> None:
        self._bundle = bundle
        self._images = bundle / "images"
        self._name = f"benchmark-{uuid.uuid4().hex[:8]}"
        self._runc = ["runc", "--criu", str(criu)]

    def start(self, program: str, done: str) -> None:
        """Return when the program has made the file `done`."""
        config = json.loads((self._bundle / "config.json").read_text())
        config["process"]["args"] = ["python3", "-c", program]
        # Its own firewall rules for the dump need programs that may not be here, and nothing speaks to it.
        (self._bundle / "criu.conf").write_text("network-lock skip\n")
        config["annotations"] = {"org.criu.config": str(self._bundle / "criu.conf")}
        (self._bundle / "config.json").write_text(json.dumps(config))
        self._run("run", "--detach", "--bundle", str(self._bundle))
        wait_until((self._bundle / "upper" / done.lstrip("/")).exists, "the container's program is ready", seconds=60)

    def checkpoint(self) -> tuple[float, float]:
        """Seconds until runc is done, and until what it wrote is also on the disk, which it does not wait for."""
        shutil.rmtree(self._images, ignore_errors=True)
        started = time.perf_counter()
        self._run("checkpoint", "--image-path", str(self._images))
        done = time.perf_counter()
        for path in (*self._images.iterdir(), self._images):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        return done - started, time.perf_counter() - started

    def restore(self) -> float:
        """Seconds until it runs again."""
        started = time.perf_counter()
        self._run("restore", "--detach", "--image-path", str(self._images), "--bundle", str(self._bundle))
        return time.perf_counter() - started

    def end(self) -> None:
        """Kill it; it may be gone already."""
        subprocess.run([*self._runc, "delete", "--force", self._name], capture_output=True, check=False)

    def _run(self, command: str, *options: str) -> None:
        # The container inherits what this has, and all that it has is saved: nothing of it may be a pipe or a file of the node's.
        log = self._bundle / "runc.log"
        words = [*self._runc, "--log", str(log), command, *options, self._name]
        nothing = subprocess.DEVNULL
        if subprocess.run(words, stdin=nothing, stdout=nothing, stderr=nothing, check=False).returncode != 0:
            raise RuntimeError(f"runc {command}: {log.read_text()}")


@contextmanager
def runc_container(instance: Instance, program: str, done: str) -> Iterator[RuncContainer]:
    """One that runs."""
    criu = find_criu(None).usable_path
    if criu is None:
        raise RuntimeError("there is no CRIU here; run scripts/criu.sh")
    with runc_bundle(instance) as bundle:
        container = RuncContainer(bundle, criu)
        try:
            container.start(program, done)
            yield container
        finally:
            container.end()
