"""The edge API's logs and metrics out of a real ClickHouse (contract data-plane §8.4)."""

from __future__ import annotations

import time
from pathlib import Path

from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.schema import Schema
from sandbank.domain.log_record import LogRecord, LogSubject
from sandbank.orchestrator.adapters.clickhouse_logs import ClickHouseLogWriter
from tests.integration.client_proxy.edge import edge

TEAM, OTHER = "0b8a3ded-4489-4722-afd1-1d82e64ec2d5", "11111111-2222-4333-8444-555555555555"
METRIC = ("timestamp", "sandbox_id", "team_id", "metric_name", "value")


async def test_logs_and_metrics_are_read_from_the_stores_that_nodes_write(tmp_path: Path) -> None:
    client = ClickHouse.connect(f"chdb://{tmp_path}/clickhouse")
    try:
        await Schema(client).up()
        now = time.time_ns()
        sandbox, build = LogSubject(TEAM, "i1", "template"), LogSubject(TEAM, "", "template", "build")
        await ClickHouseLogWriter(client).ship(
            [LogRecord(now, sandbox, "envd", "info", "of the sandbox"), LogRecord(now, build, "template-manager", "info", "of the build")]
        )
        await client.insert("sandbox_metrics_gauge", METRIC, [(now, "i1", TEAM, "e2b.sandbox.ram.used", 42.0)])
        async with edge(clickhouse=client) as live:
            logs = (await live.client.get(f"/v1/sandboxes/i1/logs?teamID={TEAM}")).json()
            assert [entry["message"] for entry in logs["logEntries"]] == ["of the sandbox"]
            assert (await live.client.get(f"/v1/sandboxes/i1/logs?teamID={OTHER}")).json() == {"logs": [], "logEntries": []}
            built = (await live.client.get("/v1/templates/builds/build/logs?templateID=template")).json()
            assert [entry["message"] for entry in built["logEntries"]] == ["of the build"]
            assert [point["mem_used"] for point in (await live.client.get(f"/v1/sandboxes/i1/metrics?teamID={TEAM}")).json()] == [42]
            latest = (await live.client.get(f"/v1/sandboxes/metrics?teamID={TEAM}&sandbox_ids=i1&sandbox_ids=i2")).json()
            assert latest["sandboxes"]["i1"]["mem_used"] == 42
            assert latest["sandboxes"].keys() == {"i1"}
    finally:
        await client.close()
