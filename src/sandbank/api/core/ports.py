"""What the core needs of the world, each protocol named by that need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sandbank.api.core.egress import EgressWish
from sandbank.api.core.pagination import Cursor
from sandbank.api.core.snapshot import Snapshot
from sandbank.api.core.start import SandboxStart, Started
from sandbank.api.core.team import Membership, Team
from sandbank.api.core.template import Template
from sandbank.domain.errors import SandbankError, UnavailableError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from sandbank.domain.template_reference import TemplateReference

Clock = Callable[[], datetime]


class Accounts(Protocol):
    """Whom a credential stands for; credentials come hashed."""

    async def find_team_by_key(self, key_hash: str) -> Team | None: ...

    async def find_team(self, team_id: str) -> Team | None: ...

    async def find_user_by_token(self, token_hash: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is for an identity provider: the subject means nothing without the issuer."""

    issuer: str
    subject: str


class IdentityTokens(Protocol):
    """An identity provider's tokens."""

    async def verify(self, token: str) -> Identity:
        """Whose it is; `UnauthenticatedError` with the reason, for the log, if it proves nothing."""


class Callers(Accounts, Protocol):
    """Whom every kind of credential stands for."""

    async def find_user_by_identity(self, identity: Identity) -> str | None: ...

    async def find_team_of_member(self, user_id: str, team_id: str) -> Team | None:
        """The team, if the user is one of its members."""


class Memberships(Protocol):
    """A user's teams, and keys to them."""

    async def list_memberships(self, user_id: str) -> Sequence[Membership]: ...

    async def add_api_key(self, team_id: str, user_id: str, name: str, raw_key: str) -> None: ...

    async def remove_surplus_keys(self, team_id: str, user_id: str, name: str, *, unused: int, used: int) -> None:
        """Of the user's keys of that name: where there are twice as many, keep the newest unused and the most recently used ones."""


class Templates(Protocol):
    """Templates by what a team calls them."""

    async def get(self, team: Team, reference: TemplateReference) -> Template:
        """The ready build meant; `NotFoundError` in the words of REST contract §4.3 if there is none for this team."""

    async def find_template_id(self, team: Team, reference: TemplateReference) -> str | None:
        """The template meant, built or not."""


class NodeUnknownError(UnavailableError):
    """No node of this ID has answered since we started: it comes late, or it was taken away for good."""


class Transition(Protocol):
    """A change of state in progress; see `sandbank.state.sandbox_store.Transition`."""

    @property
    def sandbox(self) -> Sandbox: ...

    @property
    def owned(self) -> bool: ...

    async def complete(self, error: SandbankError | None = None) -> None: ...

    async def join(self) -> None: ...


class Sandboxes(Protocol):
    """What is running; see `sandbank.state.sandbox_store.SandboxStore`."""

    async def add(self, sandbox: Sandbox) -> None: ...

    async def find(self, sandbox_id: str) -> Sandbox | None: ...

    async def list_team(self, team_id: str) -> Sequence[Sandbox]: ...

    async def set_end(self, sandbox_id: str, execution_id: str, end_at: datetime) -> bool: ...

    async def update(self, sandbox_id: str, execution_id: str, change: Callable[[Sandbox], Sandbox]) -> Sandbox | None:
        """Replace a running execution's record by what `change` makes of it, in one step; None if it is gone."""
        ...

    async def begin(self, sandbox_id: str, target: SandboxState) -> Transition | None: ...

    def lock(self, sandbox_id: str) -> AbstractAsyncContextManager[None]: ...


class Reservations(Protocol):
    """Places for starts in flight."""

    async def reserve(self, team_id: str, sandbox_id: str, limit: int) -> bool: ...

    async def release(self, team_id: str, sandbox_id: str) -> None: ...

    async def is_reserved(self, sandbox_id: str) -> bool: ...


class Residents(Protocol):
    """The records of one node's sandboxes."""

    async def list_node(self, node_id: str) -> Sequence[Sandbox]: ...

    async def find(self, sandbox_id: str) -> Sandbox | None: ...

    async def add(self, sandbox: Sandbox) -> None: ...

    async def forget(self, sandbox_id: str, execution_id: str) -> bool: ...


class Routes(Protocol):
    """Where traffic finds a sandbox."""

    async def put(self, sandbox: Sandbox) -> None: ...

    async def remove(self, sandbox: Sandbox) -> None: ...


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """A node that takes sandboxes, with what it carries: vCPUs committed and being started, and how busy it is."""

    node_id: str
    cpu_count: int
    allocated_vcpu: int
    starting_vcpu: int
    cpu_percent: float


class Nodes(Protocol):
    """The nodes, by ID. Every method raises domain errors."""

    def candidates(self) -> Sequence[NodeLoad]:
        """The healthy nodes."""

    async def create(self, node_id: str, start: SandboxStart, execution_id: str) -> Started:
        """Returns when the agent inside has answered."""

    async def set_end(self, node_id: str, sandbox_id: str, end_at: datetime) -> None: ...

    async def set_egress(self, sandbox: Sandbox, wish: EgressWish, allow_internet_access: bool | None) -> None:
        """Replace what `sandbox`, the record as it is to become, may reach: in force, and remembered by the node, when it returns."""

    async def delete(self, node_id: str, sandbox_id: str, execution_id: str, reason: str) -> None:
        """Unroutable when it returns; `NotFoundError` if it was not there, or in another execution."""

    def abandon(self, node_id: str, sandbox_id: str, execution_id: str) -> None:
        """Make sure that a start of unknown outcome leaves nothing: delete now, and again should the node be seen to run it."""


@dataclass(frozen=True, slots=True)
class PausedQuery:
    """Which of a team's paused sandboxes, in the order of `sandbank.api.core.pagination.in_order`."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    started_after: datetime | None = None
    template_id: str | None = None
    after: Cursor | None = None
    ascending: bool = False
    limit: int = 100


class SnapshotNodes(Protocol):
    """Nodes as keepers of what paused sandboxes were."""

    async def pause(self, sandbox: Sandbox, env_id: str, build_id: str) -> None:
        """Saved whole as that build, and not running, when it returns: memory and files, or files alone unless the sandbox `has_memory`.

        Asked again for what it has saved already, a node agrees.
        `ConflictError` (it cannot be saved), `UnavailableError` and `ExhaustedError` leave it running; `NotFoundError`: it does not run.
        """

    async def checkpoint(self, sandbox: Sandbox, build_id: str) -> None:
        """Saved whole as that build, and running on, when it returns. Errors as `pause`."""

    async def set_end(self, node_id: str, sandbox_id: str, end_at: datetime) -> None: ...

    def discard(self, node_id: str, build_id: str) -> None:
        """Let a node forget a save. Nobody waits for it."""


class Snapshots(Protocol):
    """What paused sandboxes were, in SQL."""

    async def begin(self, sandbox: Sandbox, build_id: str) -> str:
        """Note that `sandbox` is about to be saved as that build; the ID of the hidden template that all its saves belong to."""

    async def finish(self, build_id: str, *, is_ready: bool) -> Sequence[tuple[str, str]]:
        """What became of it; the saves that it makes superfluous, each by the node that may have it and the build."""

    async def find(self, sandbox_id: str) -> Snapshot | None:
        """The newest save that has not failed."""

    async def list_team(self, team_id: str, query: PausedQuery) -> Sequence[Sandbox]:
        """Those with a ready save, whether they run again or not."""

    async def list_unfinished(self) -> Sequence[str]:
        """The sandboxes whose newest save has neither failed nor become ready."""

    async def list_saved_before(self, moment: datetime, after: str, limit: int) -> Sequence[str]:
        """By ID, those after `after` whose newest save is ready and was begun earlier, whether they run again or not."""

    async def delete(self, sandbox_id: str) -> Sequence[tuple[str, str]]:
        """Forget all saves: for each, the node that may have it and the build."""


class Usage(Protocol):
    """Counters that nobody waits for."""

    def template_spawned(self, template_id: str) -> None: ...


class Starts(Protocol):
    """Who counts starts, by team. Nobody waits for it."""

    def sandbox_started(self, team_id: str) -> None: ...


class Readiness(Protocol):
    """Whether there is anyone to run a sandbox."""

    def is_ready(self) -> bool: ...
