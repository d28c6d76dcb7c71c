"""The node's volume service on port 5008 (contract data-plane §9.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from sandbank.contracts.volume import (
    VolumeCreateDirRequest,
    VolumeCreateRequest,
    VolumeCreateResponse,
    VolumeDeleteRequest,
    VolumeDeleteResponse,
    VolumeEntryResponse,
    VolumeFileChunk,
    VolumeFileUpload,
    VolumeListDirRequest,
    VolumeListDirResponse,
    VolumePathRequest,
    VolumeUpdatePathRequest,
)
from sandbank.rpc.channel import Channel
from sandbank.rpc.server import Download, Method, RpcServer, Upload

_QUICK_SECONDS = 30.0
_REMOVAL_SECONDS = 60.0
_FILE_SECONDS = 3600.0  # as long as the clients give a file


class VolumeHandler(Protocol):
    """What answers `VolumeService`; every method raises domain errors."""

    async def create(self, request: VolumeCreateRequest) -> VolumeCreateResponse: ...

    async def delete(self, request: VolumeDeleteRequest) -> VolumeDeleteResponse: ...

    async def list_dir(self, request: VolumeListDirRequest) -> VolumeListDirResponse: ...

    async def create_dir(self, request: VolumeCreateDirRequest) -> VolumeEntryResponse: ...

    async def delete_path(self, request: VolumePathRequest) -> VolumeDeleteResponse: ...

    def get_file(self, request: VolumePathRequest) -> AsyncIterator[VolumeFileChunk]: ...

    async def create_file(self, parts: AsyncIterator[VolumeFileUpload]) -> VolumeEntryResponse: ...

    async def stat_path(self, request: VolumePathRequest) -> VolumeEntryResponse: ...

    async def update_path(self, request: VolumeUpdatePathRequest) -> VolumeEntryResponse: ...


def add_volume_service(server: RpcServer, handler: VolumeHandler) -> None:
    """Let `handler` answer `/VolumeService/…`."""
    server.add(
        "VolumeService",
        {
            "CreateVolume": Method(VolumeCreateRequest, handler.create),
            "DeleteVolume": Method(VolumeDeleteRequest, handler.delete),
            "ListDir": Method(VolumeListDirRequest, handler.list_dir),
            "CreateDir": Method(VolumeCreateDirRequest, handler.create_dir),
            "DeletePath": Method(VolumePathRequest, handler.delete_path),
            "GetFile": Download(VolumePathRequest, handler.get_file),
            "CreateFile": Upload(VolumeFileUpload, handler.create_file),
            "StatPath": Method(VolumePathRequest, handler.stat_path),
            "UpdatePath": Method(VolumeUpdatePathRequest, handler.update_path),
        },
    )


class VolumeClient:
    """Calls one node's volume service; every method raises domain errors."""

    def __init__(self, address: str) -> None:
        self._channel = Channel(address, "node")

    async def create(self, request: VolumeCreateRequest) -> VolumeCreateResponse:
        """Make a volume's directory."""
        return await self._channel.call("/VolumeService/CreateVolume", request, VolumeCreateResponse, _QUICK_SECONDS)

    async def delete(self, request: VolumeDeleteRequest) -> VolumeDeleteResponse:
        """Remove a volume's directory."""
        return await self._channel.call("/VolumeService/DeleteVolume", request, VolumeDeleteResponse, _REMOVAL_SECONDS)

    async def list_dir(self, request: VolumeListDirRequest) -> VolumeListDirResponse:
        """What is in a directory."""
        return await self._channel.call("/VolumeService/ListDir", request, VolumeListDirResponse, _QUICK_SECONDS)

    async def create_dir(self, request: VolumeCreateDirRequest) -> VolumeEntryResponse:
        """Make a directory."""
        return await self._channel.call("/VolumeService/CreateDir", request, VolumeEntryResponse, _QUICK_SECONDS)

    async def delete_path(self, request: VolumePathRequest) -> VolumeDeleteResponse:
        """Remove a file or a tree."""
        return await self._channel.call("/VolumeService/DeletePath", request, VolumeDeleteResponse, _REMOVAL_SECONDS)

    async def stat_path(self, request: VolumePathRequest) -> VolumeEntryResponse:
        """What something is."""
        return await self._channel.call("/VolumeService/StatPath", request, VolumeEntryResponse, _QUICK_SECONDS)

    async def update_path(self, request: VolumeUpdatePathRequest) -> VolumeEntryResponse:
        """Change mode and owner."""
        return await self._channel.call("/VolumeService/UpdatePath", request, VolumeEntryResponse, _QUICK_SECONDS)

    def get_file(self, request: VolumePathRequest) -> AsyncIterator[VolumeFileChunk]:
        """A file's content."""
        return self._channel.download("/VolumeService/GetFile", request, VolumeFileChunk, _FILE_SECONDS)

    async def create_file(self, parts: AsyncIterator[VolumeFileUpload]) -> VolumeEntryResponse:
        """Write a file."""
        return await self._channel.upload("/VolumeService/CreateFile", parts, VolumeFileUpload, VolumeEntryResponse, _FILE_SECONDS)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close()
