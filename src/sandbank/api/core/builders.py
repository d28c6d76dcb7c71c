"""The nodes that build templates, as the core needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sandbank.api.core.template_build import BuilderMachine, BuildReason, BuildResult, BuildState
from sandbank.api.core.template_recipe import BuildOrder
from sandbank.domain.errors import UnavailableError


class NoBuilderError(UnavailableError):
    """No healthy node builds."""

    def __init__(self) -> None:
        super().__init__("Error when getting available build client")


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Where a build is: building, ready with its result, or failed with its reason."""

    state: BuildState
    result: BuildResult | None = None
    reason: BuildReason | None = None


@dataclass(frozen=True, slots=True)
class BuildLine:
    """One line of a build's log."""

    timestamp_ns: int
    level: str
    message: str
    fields: Mapping[str, str]

    @property
    def step(self) -> str | None:
        """The step that it belongs to."""
        return self.fields.get("step") or None


@dataclass(frozen=True, slots=True)
class LinePage:
    """Which lines of a build's log: `offset` counts those of at least `min_level`; times are nanoseconds, the end exclusive."""

    offset: int = 0
    limit: int = 100
    min_level: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class UploadOffer:
    """Whether an archive is there, and where it may be put: a whole URL, or a path of this API's."""

    present: bool
    url: str


@dataclass(frozen=True, slots=True)
class UploadLink:
    """What a client that uploads through this API was given."""

    node_id: str
    path: str
    expires: int
    token: str


class Builders(Protocol):
    """Every method but the first raises domain errors, `NodeUnknownError` for a node that has not been seen."""

    def choose(self, team_id: str) -> BuilderMachine:
        """The same for a team as long as it is there: what it has uploaded and built before is on it. `NoBuilderError`."""

    async def offer_upload(self, node_id: str, template_id: str, team_id: str, files_hash: str) -> UploadOffer: ...

    async def upload(self, link: UploadLink, size_bytes: int, content: AsyncIterator[bytes]) -> None:
        """Whole or not at all; `DeniedError` for a link that is forged or too old."""

    async def start(self, node_id: str, order: BuildOrder) -> None:
        """Returns once it is accepted; after an error it may run all the same."""

    async def look(self, node_id: str, template_id: str, build_id: str) -> BuildProgress:
        """`NotFoundError` when the node does not know the build."""

    async def read(self, node_id: str, template_id: str, build_id: str, page: LinePage) -> Sequence[BuildLine]:
        """From the node's memory. Errors as `look`."""

    def discard(self, node_id: str, template_id: str, build_id: str) -> None:
        """Stop a build and let its node forget it. Nobody waits for it."""
