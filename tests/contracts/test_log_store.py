"""What every store of logs promises, writer and reader together (rest-api contract §13, templates contract §4, §5.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from sandbank.analytics.clickhouse_logs import ClickHouseLogStore
from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.schema import Schema
from sandbank.domain.log_query import MAX_ANSWER_BYTES, LogEntry, LogQuery, LogStore
from sandbank.domain.log_record import LogRecord, LogSubject
from sandbank.loki.client import LokiClient
from sandbank.loki.push import LokiWriter
from sandbank.loki.reader import LokiReader
from sandbank.orchestrator.adapters.clickhouse_logs import ClickHouseLogWriter
from tests.product.loki import running_loki

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = 1_700_000_000_000_000_000
TEAM, OTHER = "0b8a3ded-4489-4722-afd1-1d82e64ec2d5", "11111111-2222-4333-8444-555555555555"
SUBJECT = LogSubject(TEAM, "isandbox", "template", "build")


@dataclass
class Pair:
    """Both ends of one store."""

    ship: Callable[[Sequence[LogRecord]], Awaitable[None]]
    store: LogStore


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClickHouse]:
    client = ClickHouse.connect(f"chdb://{tmp_path_factory.mktemp('clickhouse')}")
    await Schema(client).up()
    yield client
    await client.close()


@pytest_asyncio.fixture(params=["loki", "clickhouse"], loop_scope="module")
async def pair(request: pytest.FixtureRequest, clickhouse: ClickHouse) -> AsyncIterator[Pair]:
    if request.param == "clickhouse":
        await clickhouse.command("TRUNCATE TABLE sandbox_logs")
        yield Pair(ClickHouseLogWriter(clickhouse).ship, ClickHouseLogStore(clickhouse))
        return
    with running_loki(user="u", password="p") as loki:
        client = LokiClient(loki.url, "u", "p")
        yield Pair(LokiWriter(client).ship, LokiReader(client))
        await client.close()
        assert loki.refused == []


def record(offset_ns: int, message: str = "m", level: str = "info", subject: LogSubject = SUBJECT, **rest: Any) -> LogRecord:
    return LogRecord(
        BASE + offset_ns, subject, rest.pop("service", "envd"), level, message, {"logger": "test", **rest.pop("fields", {})}, **rest
    )


async def find(pair: Pair, **changes: Any) -> Sequence[LogEntry]:
    values: dict[str, Any] = {"subject": LogSubject(TEAM, "isandbox"), "start_ns": BASE, "end_ns": BASE + 10**9, "limit": 100}
    return await pair.store.find(LogQuery(**(values | changes)))


def messages(entries: Sequence[LogEntry]) -> list[str]:
    return [entry.message for entry in entries]


async def test_an_entry_comes_back_as_it_was_written(pair: Pair) -> None:
    written = record(
        123_456_789, 'it\'s "quoted" \\ {x} ä€😀\n\t`', "warn", fields={"pid": 7, "ratio": 0.5, "truth": True, "deep": {"a": 1}}
    )
    await pair.ship([written])
    (entry,) = await find(pair)
    assert (entry.timestamp_ns, entry.level, entry.message) == (BASE + 123_456_789, "warn", written.message)
    assert {name: entry.fields[name] for name in ("logger", "pid", "ratio", "truth")} == {
        "logger": "test",
        "pid": "7",
        "ratio": "0.5",
        "truth": "true",
    }
    assert not {"deep", "message", "level"} & entry.fields.keys()


async def test_oldest_or_newest_come_first_and_the_limit_counts_from_there(pair: Pair) -> None:
    await pair.ship([record(number, str(number)) for number in (4, 2, 0, 3, 1)])
    assert messages(await find(pair, limit=3)) == ["0", "1", "2"]
    assert messages(await find(pair, limit=3, newest_first=True)) == ["4", "3", "2"]


async def test_the_window_has_its_first_nanosecond_and_not_its_last(pair: Pair) -> None:
    await pair.ship([record(number, str(number)) for number in range(10)])
    assert messages(await find(pair, start_ns=BASE + 3, end_ns=BASE + 6)) == ["3", "4", "5"]
    assert messages(await find(pair, start_ns=BASE + 3, end_ns=BASE + 6, newest_first=True)) == ["5", "4", "3"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (None, "debug info warn error"),
        ("debug", "debug info warn error"),
        ("info", "info warn error"),
        ("warn", "warn error"),
        ("error", "error"),
    ],
)
async def test_a_minimum_level(pair: Pair, level: str | None, expected: str) -> None:
    await pair.ship([record(number, level, level) for number, level in enumerate(("debug", "info", "warn", "error"))])
    assert messages(await find(pair, min_level=level)) == expected.split()


HOSTILE = [
    '"',
    "'",
    "`",
    "\\",
    '"} | json',
    "'; DROP TABLE sandbox_logs; --",
    "{search:String}",
    "%",
    "_",
    ".*",
    "(",
    "[a",
    "a|b",
    "\n",
    "ä",
    "😀",
    "%s",
]


@pytest.mark.parametrize("search", HOSTILE)
async def test_a_search_means_what_it_says(pair: Pair, search: str) -> None:
    await pair.ship([record(0, f"before{search}after"), record(1, "plain"), record(2, search), record(3, "another aab")])
    assert messages(await find(pair, search=search)) == [f"before{search}after", search]


async def test_a_search_minds_case_and_looks_only_at_messages(pair: Pair) -> None:
    await pair.ship([record(0, "Needle"), record(1, "needle"), record(2, "x", fields={"needle": "needle"})])
    assert messages(await find(pair, search="needle")) == ["needle"]


async def test_another_teams_lines_are_nobodys(pair: Pair) -> None:
    await pair.ship(
        [record(0, "ours"), record(1, "theirs", subject=LogSubject(OTHER, "isandbox")), record(2, "x", subject=LogSubject(TEAM, "iother"))]
    )
    assert messages(await find(pair)) == ["ours"]
    assert messages(await find(pair, subject=LogSubject(OTHER, "isandbox"))) == ["theirs"]
    assert await find(pair, subject=LogSubject(TEAM, "iunknown")) == []


async def test_metrics_are_left_out(pair: Pair) -> None:
    await pair.ship([record(0, "kept"), record(1, "left out", category="metrics")])
    assert messages(await find(pair)) == ["kept"]


async def test_a_builds_lines_are_found_by_service_build_and_template(pair: Pair) -> None:
    """§5.5; the build engineer's half of this store."""
    build = LogSubject(TEAM, "", "template", "build")
    await pair.ship([record(0, "built", subject=build, service="template-manager"), record(1, "ran")])
    query = LogSubject(TEAM, "", "template", "build")
    assert messages(await find(pair, subject=query, service="template-manager")) == ["built"]


async def test_an_answer_is_bounded_in_bytes(pair: Pair) -> None:
    await pair.ship([record(number, "x" * 150_000) for number in range(100)])
    await pair.ship([record(number, "x" * 150_000) for number in range(100, 200)])
    entries = await find(pair, limit=1000)
    assert MAX_ANSWER_BYTES / 2 < sum(len(entry.line) for entry in entries) <= MAX_ANSWER_BYTES + 200_000
    assert [entry.timestamp_ns for entry in entries] == [BASE + number for number in range(len(entries))]
    assert len(entries) < 200


async def test_nothing_is_an_empty_answer(pair: Pair) -> None:
    assert await find(pair) == []
