"""A node whose builds and snapshots are its own."""

from __future__ import annotations


class NoArtifacts:
    """Implements `sandbank.orchestrator.core.ports.Artifacts`: there is nothing beyond this node."""

    def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    def keep(self, build_id: str) -> None:
        """Nobody to give it to."""

    async def share(self, build_id: str) -> None:
        """Nobody to give it to."""

    def forget(self, build_id: str) -> None:
        """Nobody has it."""

    async def list_snapshots(self) -> set[str]:
        """None."""
        return set()

    async def fetch(self, build_id: str) -> bool:
        """False: nobody has it."""
        return False

    async def fetch_soon(self, build_id: str) -> bool:
        """False, and nobody is about to have it."""
        return False
