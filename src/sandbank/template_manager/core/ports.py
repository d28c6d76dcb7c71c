"""What building needs of the world, each protocol named by that need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sandbank.artifacts.builds import Build, StartCommand
from sandbank.artifacts.layer_index import BuildContext, LayerEntry
from sandbank.runtime.agent.command import AgentCommand, Exit, OnOutput
from sandbank.template_manager.core.order import BuildOrder


@dataclass(frozen=True, slots=True)
class Base:
    """Files to start from. `layers` are names of layers of this node, lowest first."""

    layers: tuple[str, ...]
    env_vars: dict[str, str]


class Bases(Protocol):
    """Images, from registries, mirrors or bootstraps."""

    @property
    def version(self) -> str:
        """Names all that this node's bases are made with besides the image itself."""

    async def get(self, order: BuildOrder, log: Callable[[str], None]) -> Base:
        """Its image, pulled or made if need be, again if the order forces it. Domain errors in the words of templates contract §1.12."""


class BuildSandbox(Protocol):
    """A sandbox in which steps run. Every method raises `UnavailableError` when it has ended."""

    async def run(self, command: AgentCommand, on_output: OnOutput | None = None) -> Exit: ...

    async def write_file(self, path: str, size_bytes: int, content: AsyncIterator[bytes]) -> None: ...

    async def save_layer(self) -> tuple[str, ...]:
        """Its layers and, on top, one of all it has written by now."""

    async def save_memory(self, snapshot_id: str) -> None:
        """As `Driver.checkpoint`."""


@dataclass(frozen=True, slots=True)
class SandboxWish:
    """What a build's sandbox is to be: on top of layers, or of the files of a snapshot."""

    layers: tuple[str, ...]
    snapshot_id: str | None = None
    default_user: str = "root"
    default_workdir: str | None = None


class BuildSandboxes(Protocol):
    """Sandboxes of this node, as isolated as anybody's."""

    def open(self, order: BuildOrder, wish: SandboxWish) -> AbstractAsyncContextManager[BuildSandbox]:
        """One that ends with the block."""


class Layers(Protocol):
    """States that can be built upon."""

    async def find(self, scope: str, digest: str) -> LayerEntry | None: ...

    async def put(self, scope: str, digest: str, entry: LayerEntry) -> None: ...


class Files(Protocol):
    """Archives that clients have uploaded."""

    def find(self, scope: str, digest: str) -> Path | None: ...

    def read(self, path: Path) -> AsyncIterator[bytes]: ...


class Uploads(Files, Protocol):
    """The same, from the side of whoever uploads."""

    def key(self) -> bytes:
        """What signs links."""

    async def write(self, scope: str, digest: str, size_bytes: int, content: AsyncIterator[bytes]) -> None:
        """On disk, whole, when it returns, or nothing is changed."""


class FinishedBuilds(Protocol):
    """Builds that sandboxes can start from."""

    async def find(self, build_id: str) -> Build | None:
        """One that is on this node, or is brought here for it; `SandbankError` when it cannot be."""

    def has_snapshot(self, build_id: str) -> bool:
        """Whether there is a snapshot of that name on this node."""

    async def publish(self, order: BuildOrder, layers: Sequence[str], result: Result) -> int:
        """Make it findable: on disk, whole, when this returns. The size of its files in MiB."""

    async def discard(self, build_id: str) -> None:
        """Remove what a build has left under its own name. Idempotent."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a build is besides its files."""

    default_user: str
    default_workdir: str | None
    context: BuildContext
    start: StartCommand | None = None
