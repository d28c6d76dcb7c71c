"""Saving a sandbox that runs on, for a snapshot or for forks (REST contract §9, data-plane contract §9.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sandbank.api.core.access import not_found
from sandbank.api.core.loss import is_lost
from sandbank.api.core.paused import PausedSandboxes
from sandbank.api.core.ports import Residents, Routes, Sandboxes, SnapshotNodes, Transition
from sandbank.api.core.team import Team
from sandbank.api.core.versions import version
from sandbank.domain.errors import (
    ConflictError,
    DeadlineError,
    ExhaustedError,
    InternalError,
    InvalidError,
    NotFoundError,
    SandbankError,
    UnavailableError,
)
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState

_SINCE = (0, 5, 0)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a save is for, as answers to clients say it."""

    to_do: str  # "create snapshots"
    done: str  # "snapshotted"
    failed: str  # "Error creating snapshot template"
    paused: str | None = None  # what is wrong with a paused sandbox, which otherwise does not exist
    with_volumes: bool = True


class Checkpointer:
    """Saves sandboxes that run on. One save of a sandbox at a time; pauses and kills wait for it."""

    def __init__(self, sandboxes: Sandboxes, residents: Residents, paused: PausedSandboxes, nodes: SnapshotNodes, routes: Routes) -> None:
        self._sandboxes = sandboxes
        self._residents = residents
        self._paused = paused
        self._nodes = nodes
        self._routes = routes

    async def take(self, team: Team, sandbox_id: str, build_id: str, purpose: Purpose, *, memory: bool = True) -> Sandbox:
        """The sandbox as it was when its node saved it under the name of that build, without `memory` only its files.

        `NotFoundError`; `InvalidError` for an agent that is too old, and for volumes that are not to be saved; `ConflictError` when it is
        being saved already or cannot be saved, with the reason; `UnavailableError` when its node cannot do it now; `InternalError` where
        that failed. It runs on, but after the last of these it may be gone, and then its record is, too.
        """
        sandbox = await self._sandboxes.find(sandbox_id)
        if sandbox is not None and sandbox.team_id != team.team_id:
            raise not_found(sandbox_id)
        if sandbox is not None and version(sandbox.envd_version) < _SINCE:
            raise InvalidError(f"sandbox envd version must be at least 0.5.0 to {purpose.to_do}, current version: {sandbox.envd_version}")
        if sandbox is not None and sandbox.volume_mounts and not purpose.with_volumes:
            # They are part of what is saved: whatever is made of it has them, and no others.
            raise InvalidError(f"Sandbox '{sandbox_id}' cannot be {purpose.done} because volumes are mounted in it")
        transition = None if sandbox is None else await self._sandboxes.begin(sandbox_id, SandboxState.SNAPSHOTTING)
        if transition is None:
            await self._paused.get_own(team, sandbox_id)
            if purpose.paused is None:
                raise not_found(sandbox_id)
            raise ConflictError(purpose.paused.format(sandbox_id))
        if not transition.owned:
            raise ConflictError(f"Sandbox '{sandbox_id}' cannot be {purpose.done} while in 'snapshotting' state")
        await self._work(transition, build_id, purpose, memory)
        return transition.sandbox

    async def _work(self, transition: Transition, build_id: str, purpose: Purpose, memory: bool) -> None:
        sandbox = transition.sandbox
        error: SandbankError | None = InternalError(f"{purpose.failed}: interrupted")
        is_gone = False
        try:
            await self._nodes.checkpoint(replace(sandbox, has_memory=memory), build_id)
            error = None
        except SandbankError as failure:
            error = _answer(failure, sandbox.sandbox_id, purpose)
            is_gone = await is_lost(self._nodes, sandbox, failure)
            raise error from failure
        finally:
            await transition.complete(error)
            if error is not None:
                self._nodes.discard(sandbox.node_id, build_id)  # it may have it all the same
            if is_gone:
                await self._residents.forget(sandbox.sandbox_id, sandbox.execution_id)
                await self._routes.remove(sandbox)


def _answer(failure: SandbankError, sandbox_id: str, purpose: Purpose) -> SandbankError:
    if isinstance(failure, NotFoundError):
        return not_found(sandbox_id)
    if isinstance(failure, UnavailableError | ExhaustedError | DeadlineError):
        return UnavailableError(
            f"Sandbox '{sandbox_id}' cannot be {purpose.done} right now because its node is busy, please retry: {failure.message}"
        )
    if isinstance(failure, ConflictError):
        return ConflictError(f"{purpose.failed}: {failure.message}")
    return InternalError(f"{purpose.failed}: {failure.message}", should_retry=False)
