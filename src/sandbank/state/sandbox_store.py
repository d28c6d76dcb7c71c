"""The running sandboxes: records, quota reservations, transitions between states, and who expires next.

The protocol is made so that Redis can hold the same truth: every call is one atomic step, and nothing hands out references into the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from sandbank.domain.errors import SandbankError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState


class Transition(Protocol):
    """A change of state in progress: owned by the one caller that does the work, joined by all others that want the same."""

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox as it was when the change began."""

    @property
    def owned(self) -> bool:
        """Whether this caller must do the work and call `complete`."""

    async def complete(self, error: SandbankError | None = None) -> None:
        """End it. Success of a terminal change forgets the sandbox; an `error` puts it back as it was and reaches those who joined."""

    async def join(self) -> None:
        """Wait for the owner; raises the error it completed with. Cancelling affects this caller only."""


class SandboxStore(Protocol):
    """What is running, for whom, until when."""

    async def reserve(self, team_id: str, sandbox_id: str, limit: int) -> bool:
        """Take one of the team's `limit` places for a start in flight; false if none is left."""

    async def release(self, team_id: str, sandbox_id: str) -> None:
        """Give a reservation back. Unknown ones are no error."""

    async def add(self, sandbox: Sandbox) -> None:
        """Store a sandbox that runs now, turning its reservation, if any, into the place it takes."""

    async def find(self, sandbox_id: str) -> Sandbox | None:
        """The record, in whatever state."""

    async def list_team(self, team_id: str) -> Sequence[Sandbox]:
        """All records of a team, in no order."""

    async def count_teams(self) -> Mapping[str, int]:
        """How many records each team has; teams without any are left out."""

    async def list_node(self, node_id: str) -> Sequence[Sandbox]:
        """All records of a node, in no order."""

    async def is_reserved(self, sandbox_id: str) -> bool:
        """Whether a start of this sandbox is in flight."""

    async def set_end(self, sandbox_id: str, execution_id: str, end_at: datetime) -> bool:
        """Move the end of one execution; false if it is gone or no longer running."""

    async def update(self, sandbox_id: str, execution_id: str, change: Callable[[Sandbox], Sandbox]) -> Sandbox | None:
        """Replace the record of one execution by what `change` makes of it, in one step; `None` if it is gone or no longer running.

        `change` may be called more than once, and leaves IDs, times and the state alone.
        """

    async def begin(self, sandbox_id: str, target: SandboxState) -> Transition | None:
        """Start or join the change to `target`, after waiting for a change to anything else; `None` once there is no such sandbox."""

    async def forget(self, sandbox_id: str, execution_id: str) -> bool:
        """Drop a sandbox that ended by itself; false if it is not there or somebody is ending it already."""

    async def expired(self, now: datetime, limit: int, retry_at: datetime) -> Sequence[Sandbox]:
        """Running sandboxes whose end has come, at most `limit`; each is offered again at `retry_at` should it still be there."""

    def lock(self, sandbox_id: str) -> AbstractAsyncContextManager[None]:
        """Serialise changes that read a record, tell its node and then write."""
