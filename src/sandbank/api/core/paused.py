"""Sandboxes that are paused: finding them, and making sure of saves of which nobody heard the end."""

from __future__ import annotations

from sandbank.api.core.access import not_found
from sandbank.api.core.ports import Sandboxes, SnapshotNodes, Snapshots
from sandbank.api.core.snapshot import Snapshot
from sandbank.api.core.team import Team
from sandbank.domain.errors import DeadlineError, ExhaustedError, SandbankError, UnavailableError


class PausedSandboxes:
    """Reads saves. To be asked only for sandboxes without a record among the running ones."""

    def __init__(self, sandboxes: Sandboxes, snapshots: Snapshots, nodes: SnapshotNodes) -> None:
        self._sandboxes = sandboxes
        self._snapshots = snapshots
        self._nodes = nodes

    async def find(self, sandbox_id: str) -> Snapshot | None:
        """The newest save that its node has whole; `UnavailableError` while the node cannot say whether it has."""
        while (snapshot := await self._snapshots.find(sandbox_id)) is not None and not snapshot.is_ready:
            await self._settle(snapshot)
        return snapshot

    async def get_own(self, team: Team, sandbox_id: str) -> Snapshot:
        """The team's paused sandbox, or `NotFoundError`."""
        snapshot = await self.find(sandbox_id)
        if snapshot is None or snapshot.sandbox.team_id != team.team_id:
            raise not_found(sandbox_id)
        return snapshot

    async def keep(self, build_id: str) -> None:
        """A node has that save whole: it counts, and those before it are let go."""
        for node_id, superseded in await self._snapshots.finish(build_id, is_ready=True):
            self._nodes.discard(node_id, superseded)

    async def settle(self, sandbox_id: str) -> None:
        """Learn what became of a save, for a sandbox that was found to run no more; what cannot be learnt now is left for later."""
        try:
            if await self._sandboxes.find(sandbox_id) is None:
                await self.find(sandbox_id)
        except SandbankError:
            return  # whoever asks for the sandbox tries again

    async def settle_all(self) -> None:
        """The same for all that an API which died has left."""
        for sandbox_id in await self._snapshots.list_unfinished():
            await self.settle(sandbox_id)

    async def _settle(self, snapshot: Snapshot) -> None:
        try:
            # A node that has the save agrees, any other does not know the sandbox.
            await self._nodes.pause(snapshot.sandbox, snapshot.env_id, snapshot.build_id)
        except (UnavailableError, DeadlineError, ExhaustedError) as error:
            raise UnavailableError(f"it is not known yet whether the sandbox was paused: {error.message}") from error
        except SandbankError:
            await self._snapshots.finish(snapshot.build_id, is_ready=False)
        else:
            await self.keep(snapshot.build_id)
