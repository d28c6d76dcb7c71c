"""What the core needs of the world."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from sandbank.artifacts.builds import Build, StartCommand
from sandbank.domain.log_record import LogRecord
from sandbank.orchestrator.core.events import LifecycleEvent
from sandbank.orchestrator.core.sandbox import RunningSandbox

Clock = Callable[[], datetime]


class Builds(Protocol):
    """The templates' files on this node."""

    def find(self, build_id: str) -> Build | None: ...

    def list_ids(self) -> list[str]: ...

    def remove(self, build_id: str) -> None:
        """Idempotent."""


class Starts(Protocol):
    """What templates start with."""

    async def start(self, sandbox_id: str, token: str | None, start: StartCommand, deadline_seconds: float) -> None:
        """Return when it runs and is ready; `InvalidError` when it fails, `UnavailableError` when the sandbox ends."""


class Artifacts(Protocol):
    """Builds and snapshots beyond this node."""

    def keep(self, build_id: str) -> None:
        """Have what this node has made available to others, soon."""
        ...

    def forget(self, build_id: str) -> None:
        """Nobody needs it any more."""
        ...

    async def list_snapshots(self) -> set[str]:
        """All that are available there, also in part; `UnavailableError` when that cannot be told."""
        ...

    async def fetch(self, build_id: str) -> bool:
        """Have it on this node; False when nobody has it. `UnavailableError` when that cannot be told, `InternalError` for damage."""
        ...


class SandboxRecords(Protocol):
    """What outlives this process. Quick and synchronous: no other task sees a half-made change. Raise domain errors."""

    def save(self, sandbox: RunningSandbox) -> None:
        """Written when it returns, replacing an earlier record of the same sandbox; or failed and the earlier one intact."""
        ...

    def remove(self, sandbox_id: str) -> None:
        """Idempotent."""
        ...

    def load_all(self) -> list[RunningSandbox]:
        """Every readable record; unreadable ones are put aside and reported."""
        ...


class Routes(Protocol):
    """Who can be reached through the node's proxy."""

    def open(self, sandbox: RunningSandbox) -> None: ...

    def close(self, sandbox_id: str) -> None:
        """Unreachable when it returns, existing connections cut. Idempotent."""
        ...


class Events(Protocol):
    """Who keeps a history of this node's sandboxes."""

    def emit(self, event: LifecycleEvent) -> None:
        """Never blocks and never raises."""
        ...


class LogSink(Protocol):
    """Where log lines of sandboxes and builds go."""

    def write(self, record: LogRecord) -> None:
        """Never blocks and never raises; what does not fit is dropped and counted."""
        ...
