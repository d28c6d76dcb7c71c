"""The volume service's threads: what tenants keep busy there is nobody else's (data-plane contract §9.5)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from sandbank.contracts.volume import VolumeDeleteRequest, VolumeFileUpload, VolumeInfo, VolumeListDirRequest, VolumeUploadStart
from sandbank.orchestrator.core.volumes import VolumeFiles
from sandbank.orchestrator.endpoints import volume_service
from sandbank.orchestrator.endpoints.volume_service import VolumeEndpoints


class SlowFiles:
    """A disk that answers when it is let."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()
        self.abandoned = 0

    def delete(self, volume_id: str) -> None:
        self.entered.release()
        self.go.wait(20)

    def begin_write(self, *_: object, **__: object) -> SlowFiles:
        self.delete("")
        return self

    def abandon(self) -> None:
        self.abandoned += 1


async def _upload() -> AsyncIterator[VolumeFileUpload]:
    yield VolumeFileUpload(start=VolumeUploadStart(volume=VolumeInfo(volume_id="v"), path="/f"))


@pytest.fixture
def files() -> SlowFiles:
    return SlowFiles()


async def test_volumes_that_take_long_hold_up_no_sandbox(files: SlowFiles) -> None:
    endpoints = VolumeEndpoints(cast(VolumeFiles, files))
    calls: list[asyncio.Task[Any]] = [asyncio.ensure_future(endpoints.delete(VolumeDeleteRequest())) for _ in range(200)]
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.to_thread(int)  # as a create or a kill does
    finally:
        files.go.set()
        await asyncio.gather(*calls)


async def test_a_long_list_is_put_into_words_beside_the_loop(files: SlowFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand entries take a second and more, during which a node must answer others."""
    writers: set[threading.Thread] = set()
    monkeypatch.setattr(volume_service, "_wire", lambda entry: writers.add(threading.current_thread()))
    monkeypatch.setattr(SlowFiles, "list", lambda *_: [None], raising=False)
    await VolumeEndpoints(cast(VolumeFiles, files)).list_dir(VolumeListDirRequest())
    assert len(writers) == 1
    assert threading.main_thread() not in writers


async def test_an_upload_given_up_while_it_begins_leaves_nothing_open(files: SlowFiles) -> None:
    endpoints = VolumeEndpoints(cast(VolumeFiles, files))
    call = asyncio.ensure_future(endpoints.create_file(_upload()))
    await asyncio.to_thread(files.entered.acquire)
    call.cancel()
    await asyncio.sleep(0.01)
    files.go.set()
    await asyncio.wait({call})
    assert call.cancelled()
    assert files.abandoned == 1
