"""The nodes that build templates, over gRPC (data-plane contract §9.6)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.builder_messages import create_request, log_request, read_line, read_progress
from sandbank.api.adapters.node_pool import NodePool
from sandbank.api.core.builders import BuildLine, BuildProgress, LinePage, NoBuilderError, UploadLink, UploadOffer
from sandbank.api.core.template_build import BuilderMachine
from sandbank.api.core.template_recipe import BuildOrder
from sandbank.contracts.template_manager import (
    InitLayerFileUploadRequest,
    LayerFileChunk,
    TemplateBuildDeleteRequest,
    TemplateStatusRequest,
)
from sandbank.rpc.template_manager import TemplateClient

_PIECE_BYTES = 1 << 20


class BuilderPool:
    """Implements `sandbank.api.core.builders.Builders`: the nodes of `nodes` that say that they build.

    Their build services listen on `port` beside the node's own, or all at `address` where there is only one.
    """

    def __init__(self, nodes: NodePool, tasks: TaskGroup, port: int, address: str | None = None) -> None:
        self._nodes = nodes
        self._tasks = tasks
        self._port = port
        self._address = address
        self._clients: dict[str, TemplateClient] = {}

    def choose(self, team_id: str) -> BuilderMachine:
        """See `Builders.choose`. Which node it is changes for few teams only when nodes come or go (rendezvous hashing)."""
        builders = self._nodes.builders()
        if not builders:
            raise NoBuilderError
        info = max(builders, key=lambda one: (hashlib.sha256(f"{team_id}/{one.node_id}".encode()).digest(), one.node_id))
        machine = info.machine_info
        return BuilderMachine(
            node_id=info.node_id,
            architecture=machine.cpu_architecture,
            family=machine.cpu_family,
            model=machine.cpu_model,
            model_name=machine.cpu_model_name,
            flags=tuple(machine.cpu_flags),
        )

    async def offer_upload(self, node_id: str, template_id: str, team_id: str, files_hash: str) -> UploadOffer:
        """See `Builders.offer_upload`. Links that lead to this API say which node has made them."""
        request = InitLayerFileUploadRequest(templateID=template_id, hash=files_hash, cacheScope=team_id)
        offer = await self._client(node_id).init_upload(request)
        url = offer.url
        return UploadOffer(offer.present, f"{url}&node={quote(node_id, safe='')}" if url.startswith("/") else url)

    async def upload(self, link: UploadLink, size_bytes: int, content: AsyncIterator[bytes]) -> None:
        """See `Builders.upload`."""

        async def chunks() -> AsyncIterator[LayerFileChunk]:
            yield LayerFileChunk(path=link.path, expires=link.expires, token=link.token, sizeBytes=size_bytes)
            async for piece in content:
                for at in range(0, len(piece), _PIECE_BYTES):
                    yield LayerFileChunk(data=piece[at : at + _PIECE_BYTES])

        await self._client(link.node_id).upload(chunks())

    async def start(self, node_id: str, order: BuildOrder) -> None:
        """See `Builders.start`."""
        await self._client(node_id).create(create_request(order))

    async def look(self, node_id: str, template_id: str, build_id: str) -> BuildProgress:
        """See `Builders.look`."""
        request = TemplateStatusRequest(templateID=template_id, buildID=build_id, limit=0)
        return read_progress(await self._client(node_id).status(request))

    async def read(self, node_id: str, template_id: str, build_id: str, page: LinePage) -> Sequence[BuildLine]:
        """See `Builders.read`."""
        answer = await self._client(node_id).status(log_request(template_id, build_id, page))
        return [read_line(entry) for entry in answer.logEntries]

    def discard(self, node_id: str, template_id: str, build_id: str) -> None:
        """See `Builders.discard`. A node that is away keeps it."""
        request = TemplateBuildDeleteRequest(templateID=template_id, buildID=build_id)
        self._tasks.start("discard build", self._delete(node_id, request))

    async def close(self) -> None:
        """Let go of all connections."""
        for client in self._clients.values():
            await client.close()

    async def _delete(self, node_id: str, request: TemplateBuildDeleteRequest) -> None:
        await self._client(node_id).delete(request)

    def _client(self, node_id: str) -> TemplateClient:
        host = self._nodes.host_of(node_id)
        address = self._address or f"{host}:{self._port}"
        if address not in self._clients:
            self._clients[address] = TemplateClient(address)
        return self._clients[address]
