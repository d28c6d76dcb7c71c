"""A ClickHouse that cannot be had: readers are told, writers keep their lines (rest-api contract §13)."""

from __future__ import annotations

import socket
import time

import pytest

from sandbank.analytics.clickhouse_logs import ClickHouseLogStore
from sandbank.clickhouse.client import ClickHouse
from sandbank.domain.errors import UnavailableError
from sandbank.domain.log_query import LogQuery
from sandbank.domain.log_record import LogRecord, LogSubject
from sandbank.orchestrator.adapters.clickhouse_logs import ClickHouseLogWriter

TEAM = "0b8a3ded-4489-4722-afd1-1d82e64ec2d5"


async def test_both_ends_say_that_it_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = ClickHouse.connect(f"http://127.0.0.1:{port}/default")
    now = time.time_ns()
    try:
        with pytest.raises(UnavailableError):
            await ClickHouseLogStore(client).find(LogQuery(LogSubject(TEAM, "i1"), now - 1, now, 1))
        with pytest.raises(UnavailableError):
            await ClickHouseLogWriter(client).ship([LogRecord(now, LogSubject(TEAM, "i1"), "envd", "info", "m")])
    finally:
        await client.close()
