"""Talking to a Loki that is slow, down, or of another opinion (templates contract §5.5)."""

from __future__ import annotations

import pytest

from sandbank.domain.errors import InvalidError, UnavailableError
from sandbank.domain.log_query import LogQuery
from sandbank.domain.log_record import LogRecord, LogSubject
from sandbank.loki.client import LokiClient
from sandbank.loki.push import LokiWriter
from sandbank.loki.reader import LokiReader
from tests.product.loki import running_loki

RECORD = LogRecord(1_700_000_000_000_000_000, LogSubject("t", "i1"), "envd", "info", "m")
QUERY = LogQuery(LogSubject("t", "i1"), RECORD.timestamp_ns, RECORD.timestamp_ns + 1, 10)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 401, 404])
async def test_what_may_pass_is_worth_another_try(status: int) -> None:
    with running_loki() as loki:
        loki.failures = [status]
        client = LokiClient(loki.url)
        with pytest.raises(UnavailableError, match=str(status)):
            await LokiWriter(client).ship([RECORD])
        await LokiWriter(client).ship([RECORD])
        assert len(loki.entries) == 1
        await client.close()


async def test_what_loki_refuses_is_not_sent_again() -> None:
    with running_loki() as loki:
        loki.failures = [400]
        client = LokiClient(loki.url)
        with pytest.raises(InvalidError, match="400"):
            await LokiWriter(client).ship([RECORD])
        await client.close()


async def test_without_the_right_password_nothing_is_taken() -> None:
    with running_loki(user="u", password="p") as loki:
        client = LokiClient(loki.url, "u", "wrong")
        with pytest.raises(UnavailableError, match="401"):
            await LokiWriter(client).ship([RECORD])
        assert loki.entries == []
        await client.close()


async def test_a_loki_that_does_not_answer_looks_empty(capsys: pytest.CaptureFixture[str]) -> None:
    """§5.5: errors are swallowed, 200 with an empty list; ours are logged, too."""
    with running_loki() as loki:
        url = loki.url
        client = LokiClient(url)
        await LokiWriter(client).ship([RECORD])
        loki.failures = [500]
        assert await LokiReader(client).find(QUERY) == []
        assert len(await LokiReader(client).find(QUERY)) == 1
    assert await LokiReader(client).find(QUERY) == []
    assert "logs cannot be read" in capsys.readouterr().out
    with pytest.raises(UnavailableError):
        await LokiWriter(client).ship([RECORD])
    await client.close()
