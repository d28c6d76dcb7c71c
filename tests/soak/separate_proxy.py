"""`python -m tests.soak.separate_proxy PORT NODE_PORT SANDBOX_ID`: a client proxy apart from the node."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import uvloop

from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build
from sandbank.state.catalog import CatalogEntry, MemoryCatalog


async def serve(port: int, node_port: int, sandbox_id: str) -> None:
    """Knows one sandbox; serves until it is killed."""
    catalog = MemoryCatalog()
    await catalog.put(CatalogEntry(sandbox_id, "execution", "node", "127.0.0.1", datetime.now(UTC), 24))
    settings = ClientProxySettings(client_proxy_port=port, health_port=None, edge_port=None, orchestrator_proxy_port=node_port)
    await build(settings, routes=None, catalog=catalog).start()
    print("serving", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
