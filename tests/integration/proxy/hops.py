"""The same promises through one hop and through two (contract data-plane §7): straight to the node's proxy, or by a client proxy."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sandbank.state.catalog import CatalogEntry, MemoryCatalog

NODE = "node"
BOTH_HOPS = "both hops"


class EverythingIsHere(MemoryCatalog):
    """A catalog in which every sandbox runs on this machine."""

    def find_now(self, sandbox_id: str) -> CatalogEntry | None:
        return CatalogEntry(sandbox_id, "execution-1", "node-1", "127.0.0.1", datetime.now(UTC), 24)

    async def find(self, sandbox_id: str) -> CatalogEntry | None:
        return self.find_now(sandbox_id)


def both_ways(metafunc: pytest.Metafunc) -> None:
    """For a module's `pytest_generate_tests`: run each test that takes `proxy` both ways."""
    if "proxy" in metafunc.fixturenames:
        metafunc.parametrize("proxy", [NODE, BOTH_HOPS], indirect=True)
