"""ClickHouse for tests: the embedded engine, HTTP in front of it, and a real server where `SANDBANK_TEST_CLICKHOUSE` names one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.product.clickhouse_http import clickhouse_over_http

KINDS = ("engine", "http", *(("server",) if os.environ.get("SANDBANK_TEST_CLICKHOUSE") else ()))


@contextmanager
def connection_string(kind: str, directory: Path) -> Iterator[str]:
    """What `CLICKHOUSE_CONNECTION_STRING` would be."""
    if kind == "engine":
        yield f"chdb://{directory}/clickhouse"
    elif kind == "http":
        with clickhouse_over_http(directory / "clickhouse") as url:
            yield url
    else:
        yield os.environ["SANDBANK_TEST_CLICKHOUSE"]
