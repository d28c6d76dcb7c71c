"""The way to a command's end and back: `commands.run("true")` of the official SDK, next to `runc exec` in a container of the same root."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2b import Sandbox

from benchmarks.containers import runc_bundle
from benchmarks.report import Row, latency_rows, percentile
from tests.product.instance import Instance


def measure_run(instance: Instance, rounds: int) -> list[Row]:
    """Latencies, and how many times as long as the SDK's call `runc exec` takes."""
    with Sandbox.create(timeout=900) as sandbox, runc_bundle(instance) as bundle, _container(bundle) as name:
        ours, theirs = [], []
        for _ in range(rounds):
            started = time.perf_counter()
            sandbox.commands.run("true")
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            subprocess.run(["runc", "exec", name, "/bin/bash", "-l", "-c", "true"], check=True)
            theirs.append(time.perf_counter() - started)
    rows = latency_rows('commands.run("true") through the Python SDK', ours)
    rows += latency_rows("runc exec of the same", theirs)
    rows.append(Row("runc exec ÷ commands.run, p50", percentile(theirs, 50) / percentile(ours, 50), "×"))
    return rows


@contextmanager
def _container(bundle: Path) -> Iterator[str]:
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["/bin/sleep", "3600"]
    (bundle / "config.json").write_text(json.dumps(config))
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    subprocess.run(
        ["runc", "run", "--detach", "--bundle", str(bundle), name], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        yield name
    finally:
        subprocess.run(["runc", "delete", "--force", name], check=True)
