"""The build service of nodes on port 5009, and on 5008 with the others (contract data-plane §9.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from google.protobuf.empty_pb2 import Empty

from sandbank.contracts.template_manager import (
    InitLayerFileUploadRequest,
    InitLayerFileUploadResponse,
    LayerFileChunk,
    TemplateBuildDeleteRequest,
    TemplateBuildStatusResponse,
    TemplateCreateRequest,
    TemplateStatusRequest,
)
from sandbank.rpc.channel import Channel
from sandbank.rpc.server import Method, RpcServer, Upload

_QUICK_SECONDS = 30.0
_REMOVAL_SECONDS = 120.0
_FILE_SECONDS = 3600.0  # as long as the clients give a file


class TemplateHandler(Protocol):
    """What answers `TemplateService`; every method raises domain errors."""

    async def init_upload(self, request: InitLayerFileUploadRequest) -> InitLayerFileUploadResponse: ...

    async def upload(self, chunks: AsyncIterator[LayerFileChunk]) -> Empty: ...

    async def create(self, request: TemplateCreateRequest) -> Empty: ...

    async def status(self, request: TemplateStatusRequest) -> TemplateBuildStatusResponse: ...

    async def delete(self, request: TemplateBuildDeleteRequest) -> Empty: ...


def add_template_service(server: RpcServer, handler: TemplateHandler) -> None:
    """Let `handler` answer `/TemplateService/…`."""
    server.add(
        "TemplateService",
        {
            "InitLayerFileUpload": Method(InitLayerFileUploadRequest, handler.init_upload),
            "UploadLayerFile": Upload(LayerFileChunk, handler.upload),
            "TemplateCreate": Method(TemplateCreateRequest, handler.create),
            "TemplateBuildStatus": Method(TemplateStatusRequest, handler.status),
            "TemplateBuildDelete": Method(TemplateBuildDeleteRequest, handler.delete),
        },
    )


class TemplateClient:
    """Calls one node's build service; every method raises domain errors."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = Channel(address, "build service")

    async def init_upload(self, request: InitLayerFileUploadRequest) -> InitLayerFileUploadResponse:
        """Whether the archive is there, and where to put it."""
        return await self._channel.call("/TemplateService/InitLayerFileUpload", request, InitLayerFileUploadResponse, _QUICK_SECONDS)

    async def upload(self, chunks: AsyncIterator[LayerFileChunk]) -> None:
        """An archive; it is on the node's disk, whole, when this returns."""
        await self._channel.upload("/TemplateService/UploadLayerFile", chunks, LayerFileChunk, Empty, _FILE_SECONDS)

    async def create(self, request: TemplateCreateRequest) -> None:
        """The build is accepted when this returns, and runs on."""
        await self._channel.call("/TemplateService/TemplateCreate", request, Empty, _QUICK_SECONDS)

    async def status(self, request: TemplateStatusRequest) -> TemplateBuildStatusResponse:
        """`NotFoundError` when the node does not know the build."""
        return await self._channel.call("/TemplateService/TemplateBuildStatus", request, TemplateBuildStatusResponse, _QUICK_SECONDS)

    async def delete(self, request: TemplateBuildDeleteRequest) -> None:
        """Stops the build if it runs, and removes what it made. Idempotent."""
        await self._channel.call("/TemplateService/TemplateBuildDelete", request, Empty, _REMOVAL_SECONDS)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close()
