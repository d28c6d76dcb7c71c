"""Forking a running sandbox: saved once while it runs on, and started as many times as asked for (REST contract §9.4)."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.checkpoint import Checkpointer, Purpose
from sandbank.api.core.launch import SandboxLauncher
from sandbank.api.core.ports import SnapshotNodes, Starts
from sandbank.api.core.snapshot import Snapshot
from sandbank.api.core.team import Team
from sandbank.api.core.timeouts import require_within_plan
from sandbank.api.core.volumes import Volumes
from sandbank.domain.credentials import SandboxTokens
from sandbank.domain.errors import InvalidError, SandbankError
from sandbank.domain.identifiers import new_sandbox_id
from sandbank.domain.sandbox import Sandbox

MOST = 100
_PURPOSE = Purpose(
    to_do="fork sandboxes",
    done="forked",
    failed="Error forking sandbox",
    paused="Sandbox '{}' is paused and cannot be forked; resume it first",
)
_AT_ONCE = 8  # more would only wait on their node, each with a minute to do it in


class SandboxForker:
    """Forks sandboxes."""

    def __init__(
        self,
        *,
        checkpointer: Checkpointer,
        launcher: SandboxLauncher,
        nodes: SnapshotNodes,
        volumes: Volumes,
        tokens: SandboxTokens,
        starts: Starts,
        tasks: TaskGroup,
    ) -> None:
        self._checkpointer = checkpointer
        self._launcher = launcher
        self._nodes = nodes
        self._volumes = volumes
        self._tokens = tokens
        self._starts = starts
        self._tasks = tasks

    async def fork(self, team: Team, sandbox_id: str, timeout_seconds: int, count: int) -> list[Sandbox | SandbankError]:
        """Each a sandbox that goes on where this one was, or what kept it from it; this one runs on.

        `InvalidError`, `NotFoundError`; `ConflictError` when it is paused, in between two states or cannot be saved, with the reason;
        `UnavailableError` when its node is busy. A cancelled caller leaves sandboxes that live until their timeout.
        """
        if count < 1:
            raise InvalidError("Count must be at least 1")
        if count > MOST:
            raise InvalidError(f"Count cannot be greater than {MOST}")
        if timeout_seconds == 0:
            raise InvalidError("Timeout must be greater than 0")
        require_within_plan(team, timeout_seconds)
        if count >= team.concurrent_sandboxes:
            raise InvalidError(f"Count must be lower than the maximum number of concurrent sandboxes ({team.concurrent_sandboxes})")
        return await asyncio.shield(self._tasks.start("fork", self._fork(team, sandbox_id, timeout_seconds, count)))

    async def _fork(self, team: Team, sandbox_id: str, timeout_seconds: int, count: int) -> list[Sandbox | SandbankError]:
        build_id = str(uuid.uuid4())
        parent = await self._checkpointer.take(team, sandbox_id, build_id, _PURPOSE)
        snapshot = Snapshot(sandbox=parent, env_id=parent.template_id, build_id=build_id, is_ready=True)
        turns = asyncio.Semaphore(_AT_ONCE)
        try:
            mounts, _ = await self._volumes.mounts(team, snapshot.template(), parent.volume_mounts)
            start = snapshot.start(team, self._tokens, mounts, timeout_seconds, node_id=parent.node_id)
            start = replace(start, created_timeout_seconds=None, iam_tokens={})

            async def one() -> Sandbox | SandbankError:
                fork_id = new_sandbox_id()
                own = replace(
                    start,
                    sandbox_id=fork_id,
                    envd_access_token=None if start.envd_access_token is None else self._tokens.envd(fork_id),
                    traffic_access_token=None if start.traffic_access_token is None else self._tokens.traffic(fork_id),
                )
                try:
                    async with turns:
                        forked = await self._launcher.launch(team, own)
                except SandbankError as error:
                    return error
                self._starts.sandbox_started(team.team_id)
                return forked

            return await asyncio.gather(*(one() for _ in range(count)))
        finally:
            self._nodes.discard(parent.node_id, build_id)
