"""Files of volumes that change or break off while they are on their way (rest-api contract §19)."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
import structlog

from tests.integration.api.conftest import LiveApi


async def test_a_file_cut_while_it_is_read_cuts_the_answer_and_is_one_line_in_the_log(
    api: LiveApi, caplog: pytest.LogCaptureFixture
) -> None:
    volume = (await api.client.post("/volumes", json={"name": "data"})).json()
    headers = {"Authorization": f"Bearer {volume['token']}"}
    url = f"/volumecontent/{volume['volumeID']}/file?path=/large"
    (await api.client.put(url, content=bytes(64 << 20), headers=headers, timeout=60)).raise_for_status()
    file = api.settings.data_dir / "volumes" / volume["volumeID"] / "large"
    with structlog.testing.capture_logs() as lines, pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012
        async with api.client.stream("GET", url, headers=headers) as answer:
            file.write_bytes(b"")
            async for _ in answer.aiter_bytes():
                pass
    async with asyncio.timeout(10):
        while not any(line["event"] in ("answer broke off", "request broke") for line in lines):
            await asyncio.sleep(0.01)
    assert [line for line in lines if "exc_info" in line] == []
    assert [record for record in caplog.records if record.exc_info and record.levelno >= logging.WARNING] == []
    assert (await api.client.get(url, headers=headers)).content == b""
