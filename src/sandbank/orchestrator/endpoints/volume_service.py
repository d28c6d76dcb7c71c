"""`VolumeService` on port 5008 (contract data-plane §9.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import ParamSpec, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from sandbank.aiokit.tasks import finish
from sandbank.contracts.volume import (
    VolumeCreateDirRequest,
    VolumeCreateRequest,
    VolumeCreateResponse,
    VolumeDeleteRequest,
    VolumeDeleteResponse,
    VolumeDirectoryItem,
    VolumeEntryInfo,
    VolumeEntryResponse,
    VolumeFileChunk,
    VolumeFileContent,
    VolumeFileFinish,
    VolumeFileStart,
    VolumeFileType,
    VolumeFileUpload,
    VolumeListDirRequest,
    VolumeListDirResponse,
    VolumePathRequest,
    VolumeUpdatePathRequest,
    VolumeUploadStart,
)
from sandbank.orchestrator.core import volumes
from sandbank.orchestrator.core.volumes import Ownership, PendingFile, VolumeEntry, VolumeFiles

P = ParamSpec("P")
T = TypeVar("T")

_PIECE_BYTES = 1 << 20
_THREADS = 16
_KINDS = {
    "file": VolumeFileType.VOLUME_FILE_TYPE_FILE,
    "directory": VolumeFileType.VOLUME_FILE_TYPE_DIRECTORY,
    "symlink": VolumeFileType.VOLUME_FILE_TYPE_SYMLINK,
}


@dataclass(frozen=True, slots=True)
class VolumeEndpoints:
    """Answers the methods; whatever touches the disk does so in threads of its own: what tenants keep there may take any time, and
    sandboxes are not made and ended behind it. Errors are domain errors.
    """

    files: VolumeFiles
    threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix="volumes"))

    async def create(self, request: VolumeCreateRequest) -> VolumeCreateResponse:
        """Idempotent."""
        await self._in_thread(self.files.create, request.volume.volume_id)
        return VolumeCreateResponse(volume_type=request.volume.volume_type)

    async def delete(self, request: VolumeDeleteRequest) -> VolumeDeleteResponse:
        """Idempotent."""
        await self._in_thread(self.files.delete, request.volume.volume_id)
        return VolumeDeleteResponse()

    async def list_dir(self, request: VolumeListDirRequest) -> VolumeListDirResponse:
        """Flat, parents before their children."""
        return await self._in_thread(self._list, request)

    def _list(self, request: VolumeListDirRequest) -> VolumeListDirResponse:
        found = self.files.list(request.volume.volume_id, request.path, request.depth)
        return VolumeListDirResponse(files=[VolumeDirectoryItem(entry=_wire(entry)) for entry in found])

    async def create_dir(self, request: VolumeCreateDirRequest) -> VolumeEntryResponse:
        """The new directory."""
        volume_id, path, ownership = request.volume.volume_id, request.path, _ownership(request)
        entry = await self._in_thread(self.files.make_directory, volume_id, path, ownership, parents=request.create_parents)
        return VolumeEntryResponse(entry=_wire(entry))

    async def delete_path(self, request: VolumePathRequest) -> VolumeDeleteResponse:
        """A directory with all it holds."""
        await self._in_thread(self.files.remove, request.volume.volume_id, request.path)
        return VolumeDeleteResponse()

    async def stat_path(self, request: VolumePathRequest) -> VolumeEntryResponse:
        """A link itself."""
        return VolumeEntryResponse(entry=_wire(await self._in_thread(self.files.stat, request.volume.volume_id, request.path)))

    async def update_path(self, request: VolumeUpdatePathRequest) -> VolumeEntryResponse:
        """As it is afterwards."""
        entry = await self._in_thread(self.files.change, request.volume.volume_id, request.path, _ownership(request))
        return VolumeEntryResponse(entry=_wire(entry))

    async def get_file(self, request: VolumePathRequest) -> AsyncIterator[VolumeFileChunk]:
        """Its size as it was when it was opened, then what can be read of it."""
        file = await self._in_thread(self.files.open, request.volume.volume_id, request.path)
        try:
            size = await self._in_thread(file.seek, 0, 2)
            await self._in_thread(file.seek, 0)
            yield VolumeFileChunk(start=VolumeFileStart(size=size))
            left = size
            while left > 0 and (data := await finish(self._in_thread(file.read, min(_PIECE_BYTES, left)))):
                left -= len(data)
                yield VolumeFileChunk(content=VolumeFileContent(content=data))
            yield VolumeFileChunk(finish=VolumeFileFinish())
        finally:
            file.close()

    async def create_file(self, parts: AsyncIterator[VolumeFileUpload]) -> VolumeEntryResponse:
        """The file as it is once all of it has come; without the last part nothing is changed."""
        first = await anext(parts, None)
        if first is None or not first.HasField("start"):
            raise volumes.invalid("an upload begins with where it goes")
        start: VolumeUploadStart = first.start
        begun: list[PendingFile] = []

        def begin() -> None:
            begun.append(self.files.begin_write(start.volume.volume_id, start.path, _ownership(start), force=start.force))

        try:
            # What a cancelled caller has begun ends before it is abandoned.
            await finish(self._in_thread(begin))
            async for part in parts:
                if part.HasField("finish"):
                    return VolumeEntryResponse(entry=_wire(await finish(self._in_thread(begun[0].commit))))
                await finish(self._in_thread(begun[0].write, part.content.content))
        finally:
            for pending in begun:
                await finish(self._in_thread(pending.abandon))
        raise volumes.invalid("the upload broke off")

    async def _in_thread(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(function, *arguments, **named))


def _ownership(request: VolumeCreateDirRequest | VolumeUpdatePathRequest | VolumeUploadStart) -> Ownership:
    return Ownership(
        mode=request.mode if request.HasField("mode") else None,
        uid=request.uid if request.HasField("uid") else None,
        gid=request.gid if request.HasField("gid") else None,
    )


def _timestamp(at: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp


def _text(name: str) -> str:
    # Names are bytes; on the wire they are text, and what is none is shown with replacement characters.
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _wire(entry: VolumeEntry) -> VolumeEntryInfo:
    return VolumeEntryInfo(
        name=_text(entry.name),
        type=_KINDS.get(entry.kind, VolumeFileType.VOLUME_FILE_TYPE_UNSPECIFIED),
        path=_text(entry.path),
        size=entry.size,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        modified_time=_timestamp(entry.modified_at),
        symlink_target=None if entry.target is None else _text(entry.target),
        created_time=_timestamp(entry.changed_at),
        accessed_time=_timestamp(entry.accessed_at),
    )
