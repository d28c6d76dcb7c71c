"""Volumes on the nodes over gRPC (contract data-plane §9.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from sandbank.api.core.ports import NodeLoad
from sandbank.api.core.volume_content import Entry, Ownership
from sandbank.api.core.volumes import LOCAL, Volume
from sandbank.contracts.volume import (
    VolumeCreateDirRequest,
    VolumeCreateRequest,
    VolumeDeleteRequest,
    VolumeEntryInfo,
    VolumeFileContent,
    VolumeFileFinish,
    VolumeFileType,
    VolumeFileUpload,
    VolumeInfo,
    VolumeListDirRequest,
    VolumePathRequest,
    VolumeUpdatePathRequest,
    VolumeUploadStart,
)
from sandbank.domain.errors import UnavailableError
from sandbank.domain.volume import VolumeFileTarget
from sandbank.rpc.volume import VolumeClient

_PIECE_BYTES = 1 << 20
_KINDS = {
    VolumeFileType.VOLUME_FILE_TYPE_FILE: "file",
    VolumeFileType.VOLUME_FILE_TYPE_DIRECTORY: "directory",
    VolumeFileType.VOLUME_FILE_TYPE_SYMLINK: "symlink",
}


class VolumeNodes:
    """Finds the node of a volume, `address_of` says where it is, and calls it."""

    def __init__(self, candidates: Callable[[], Sequence[NodeLoad]], address_of: Callable[[str], str]) -> None:
        self.candidates = candidates
        self._address_of = address_of
        self._clients: dict[str, VolumeClient] = {}

    async def create_volume(self, volume: Volume) -> None:
        """See `sandbank.api.core.volumes.VolumeNodes`."""
        await self._client(volume.kind).create(VolumeCreateRequest(volume=_info(volume.volume_id, volume.kind, volume.team_id)))

    async def delete_volume(self, volume: Volume) -> None:
        """See `sandbank.api.core.volumes.VolumeNodes`."""
        await self._client(volume.kind).delete(VolumeDeleteRequest(volume=_info(volume.volume_id, volume.kind, volume.team_id)))

    async def stat(self, target: VolumeFileTarget) -> Entry:
        """See `sandbank.api.core.volume_content.VolumeFiles`."""
        return _entry((await self._client(target.kind).stat_path(_request(target))).entry)

    async def list(self, target: VolumeFileTarget, depth: int) -> Sequence[Entry]:
        """See `sandbank.api.core.volume_content.VolumeFiles`."""
        request = VolumeListDirRequest(volume=_of(target), path=target.path, depth=depth)
        answer = await self._client(target.kind).list_dir(request)
        # There may be a hundred thousand.
        return await asyncio.to_thread(lambda: [_entry(item.entry) for item in answer.files])

    async def make_directory(self, target: VolumeFileTarget, ownership: Ownership, *, parents: bool) -> Entry:
        """See `sandbank.api.core.volume_content.VolumeFiles`."""
        request = VolumeCreateDirRequest(
            volume=_of(target), path=target.path, mode=ownership.mode, uid=ownership.uid, gid=ownership.gid, create_parents=parents
        )
        return _entry((await self._client(target.kind).create_dir(request)).entry)

    async def change(self, target: VolumeFileTarget, ownership: Ownership) -> Entry:
        """See `sandbank.api.core.volume_content.VolumeFiles`."""
        request = VolumeUpdatePathRequest(volume=_of(target), path=target.path, mode=ownership.mode, uid=ownership.uid, gid=ownership.gid)
        return _entry((await self._client(target.kind).update_path(request)).entry)

    async def remove(self, target: VolumeFileTarget) -> None:
        """See `sandbank.api.core.volume_content.VolumeFiles`."""
        await self._client(target.kind).delete_path(_request(target))

    async def read(self, target: VolumeFileTarget) -> tuple[int, AsyncIterator[bytes]]:
        """See `sandbank.api.core.volume_content.VolumeFiles`; the size comes first, so an error is known before an answer begins."""
        parts = self._client(target.kind).get_file(_request(target))
        first = await anext(parts)
        size = first.start.size

        async def content() -> AsyncIterator[bytes]:
            left = size
            async with aclosing(parts):  # type: ignore[type-var]  # a generator
                async for part in parts:
                    if part.HasField("finish"):
                        if left > 0:
                            raise UnavailableError("the file became shorter while it was read")
                        return
                    left -= len(part.content.content)
                    yield part.content.content
            raise UnavailableError("the node broke off")

        return size, content()

    async def write(self, target: VolumeFileTarget, ownership: Ownership, content: AsyncIterator[bytes], *, force: bool) -> Entry:
        """See `sandbank.api.core.volume_content.VolumeFiles`; a `content` that fails leaves the volume as it was."""
        start = VolumeUploadStart(
            volume=_of(target), path=target.path, mode=ownership.mode, uid=ownership.uid, gid=ownership.gid, force=force
        )

        async def parts() -> AsyncIterator[VolumeFileUpload]:
            yield VolumeFileUpload(start=start)
            async for piece in content:
                for at in range(0, len(piece), _PIECE_BYTES):
                    yield VolumeFileUpload(content=VolumeFileContent(content=piece[at : at + _PIECE_BYTES]))
            yield VolumeFileUpload(finish=VolumeFileFinish())

        return _entry((await self._client(target.kind).create_file(parts())).entry)

    async def close(self) -> None:
        """Let go of all connections."""
        for client in self._clients.values():
            await client.close()

    def _client(self, kind: str) -> VolumeClient:
        if kind.startswith(LOCAL):
            node_id = kind.removeprefix(LOCAL)
        else:
            candidates = self.candidates()
            if not candidates:
                raise UnavailableError("no node that has the volume answers")
            node_id = candidates[0].node_id
        address = self._address_of(node_id)
        if address not in self._clients:
            self._clients[address] = VolumeClient(address)
        return self._clients[address]


def _info(volume_id: str, kind: str, team_id: str) -> VolumeInfo:
    return VolumeInfo(volume_id=volume_id, volume_type=kind, team_id=team_id)


def _of(target: VolumeFileTarget) -> VolumeInfo:
    return _info(target.volume_id, target.kind, target.team_id)


def _request(target: VolumeFileTarget) -> VolumePathRequest:
    return VolumePathRequest(volume=_of(target), path=target.path)


def _entry(info: VolumeEntryInfo) -> Entry:
    def at(timestamp: Timestamp) -> datetime:
        return timestamp.ToDatetime(tzinfo=UTC)

    return Entry(
        name=info.name,
        path=info.path,
        kind=_KINDS.get(info.type, "unknown"),
        size=info.size,
        mode=info.mode,
        uid=info.uid,
        gid=info.gid,
        accessed_at=at(info.accessed_time),
        modified_at=at(info.modified_time),
        changed_at=at(info.created_time),
        target=info.symlink_target if info.HasField("symlink_target") else None,
    )
