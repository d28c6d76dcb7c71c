"""ClickHouse's HTTP interface over the embedded engine, where no server can be had: what the compose stack's tests have for one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FRONT = Path(__file__).parents[2] / "deploy/compose/test/clickhouse_front.py"


@contextmanager
def clickhouse_over_http(directory: Path, port: int = 0, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of a server that keeps its data in `directory`; `variables` are the official image's."""
    environment = {**os.environ, "FRONT_HTTP_PORT": str(port), "FRONT_NATIVE_PORT": "0", **(variables or {})}
    process = subprocess.Popen([sys.executable, str(FRONT), str(directory)], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/default"
    finally:
        process.kill()
        process.communicate()
