"""Sandboxes in which templates are built: the node's own driver runs them, as it runs anybody's."""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbank.aiokit.tasks import finish
from sandbank.runtime.agent.client import AgentClient
from sandbank.runtime.agent.command import AgentCommand, Exit, OnOutput
from sandbank.runtime.driver import AgentInit, Driver, Limits, SandboxSpec
from sandbank.template_manager.core.order import BuildOrder
from sandbank.template_manager.core.ports import SandboxWish

_ALPHABET = string.ascii_lowercase + string.digits
_ID_CHARACTERS = 20  # contract templates-and-data §0.1


@dataclass(frozen=True, slots=True)
class DriverSandbox:
    """Implements `sandbank.template_manager.core.ports.BuildSandbox`."""

    driver: Driver
    sandbox_id: str
    agent: AgentClient

    async def run(self, command: AgentCommand, on_output: OnOutput | None = None) -> Exit:
        """As the agent's client."""
        return await self.agent.run(command, on_output)

    async def write_file(self, path: str, size_bytes: int, content: AsyncIterator[bytes]) -> None:
        """As the agent's client."""
        await self.agent.write_file(path, size_bytes, content)

    async def save_layer(self) -> tuple[str, ...]:
        """Under a name that nothing else has."""
        layers = await self.driver.save_layer(self.sandbox_id, f"step-{uuid.uuid4().hex}")
        return tuple(layer.name for layer in layers)

    async def save_memory(self, snapshot_id: str) -> None:
        """The sandbox runs on, and whatever it does then is not in there."""
        await self.driver.checkpoint(self.sandbox_id, snapshot_id)


class DriverSandboxes:
    """Implements `sandbank.template_manager.core.ports.BuildSandboxes`. `env_vars` are what all sandboxes of this node's templates have."""

    def __init__(self, driver: Driver, layers_dir: Path, env_vars: Mapping[str, str]) -> None:
        self._driver = driver
        self._layers_dir = layers_dir
        self._env_vars = dict(env_vars)

    @asynccontextmanager
    async def open(self, order: BuildOrder, wish: SandboxWish) -> AsyncIterator[DriverSandbox]:
        """Errors as `Driver.create`; it is gone when the block has ended, also when that is cancelled."""
        sandbox_id = "b" + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARACTERS))
        token = secrets.token_hex(32)
        spec = SandboxSpec(
            sandbox_id=sandbox_id,
            template_id=order.template_id,
            execution_id=str(uuid.uuid4()),
            layers=tuple(self._layers_dir / name for name in wish.layers),
            limits=Limits(order.vcpu, order.memory_mib, order.disk_mib),
            init=AgentInit(token, self._env_vars, wish.default_user, wish.default_workdir),
            snapshot_id=wish.snapshot_id,
            boots=wish.snapshot_id is not None,
        )
        try:
            await self._driver.create(spec)
            yield DriverSandbox(self._driver, sandbox_id, AgentClient(self._driver, sandbox_id, token))
        finally:
            await finish(self._driver.kill(sandbox_id))
