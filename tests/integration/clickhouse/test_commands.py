"""`sandbank migrate clickhouse`, on an embedded engine of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.schema import LEDGER, migrations


def migrate(*arguments: str, connection_string: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CLICKHOUSE_", "SANDBANK_"))}
    if connection_string is not None:
        environment["CLICKHOUSE_CONNECTION_STRING"] = connection_string
    program = Path(sys.executable).with_name("sandbank")
    return subprocess.run(
        [str(program), "migrate", "clickhouse", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_up_status_down_and_a_database_that_is_newer(tmp_path: Path) -> None:
    newest = migrations()[-1].number
    url = f"chdb://{tmp_path}/clickhouse"
    assert migrate("up", connection_string=url).stdout.startswith("Applied 0001, ")
    assert migrate("up", connection_string=url).stdout == "Nothing was pending.\n"
    undone = migrate("down", "--yes", "--data-dir", str(tmp_path))
    assert (undone.returncode, undone.stdout) == (0, f"Undid {newest:04}.\n"), "the directory's engine is the same"
    status = json.loads(migrate("status", "--json", connection_string=url).stdout)
    assert [step["number"] for step in status if not step["applied"]] == [newest]

    async def come_from_the_future() -> None:
        client = ClickHouse.connect(url)
        await client.insert(LEDGER, ("version_id", "is_applied"), [(9001, 1)])
        await client.close()

    asyncio.run(come_from_the_future())
    for command in ("up", "status"):
        refused = migrate(command, connection_string=url)
        assert refused.returncode == 1
        assert "schema 9001, which this version of Sandbank does not know" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_what_cannot_be_opened_is_said_in_a_line() -> None:
    for url, words in (
        ("mysql://h/db", "CLICKHOUSE_CONNECTION_STRING must be"),
        ("http://user:secret@127.0.0.1:9/default", "ClickHouse at 127.0.0.1:9 cannot be reached"),
        ("", "analytics are off"),
    ):
        done = migrate("status", connection_string=url)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert words in done.stderr
        assert "secret" not in done.stderr
