"""The index of layers, off the event loop."""

from __future__ import annotations

import asyncio

from sandbank.artifacts.layer_index import LayerEntry, LayerIndex


class KeptLayers:
    """Implements `sandbank.template_manager.core.ports.Layers`."""

    def __init__(self, index: LayerIndex) -> None:
        self._index = index

    async def find(self, scope: str, digest: str) -> LayerEntry | None:
        """As the index."""
        return await asyncio.to_thread(self._index.find, scope, digest)

    async def put(self, scope: str, digest: str, entry: LayerEntry) -> None:
        """As the index."""
        await asyncio.to_thread(self._index.put, scope, digest, entry)
