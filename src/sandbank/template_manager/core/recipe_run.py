"""Building one order from its base to what sandboxes start from (contract templates-and-data §1.7 – §1.10)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

from sandbank.artifacts.builds import StartCommand, memory_name
from sandbank.artifacts.layer_index import BuildContext, LayerEntry
from sandbank.domain.errors import ConflictError, InvalidError, SandbankError, UnavailableError
from sandbank.runtime.agent.command import SH, AgentCommand
from sandbank.runtime.agent.printed import Printed
from sandbank.runtime.agent.start import Outputs, start_and_wait
from sandbank.template_manager.core import layer_hash, provisioning
from sandbank.template_manager.core.build_log import DEBUG, WARN, BuildLog, StepOutput
from sandbank.template_manager.core.distributions import Distribution, detect
from sandbank.template_manager.core.order import V1, V2_1, BuildOrder, Step
from sandbank.template_manager.core.phase_error import BASE, FINALIZE, PhaseError
from sandbank.template_manager.core.ports import (
    Bases,
    BuildSandbox,
    BuildSandboxes,
    Files,
    FinishedBuilds,
    Layers,
    Result,
    SandboxWish,
)
from sandbank.template_manager.core.step_runner import StepRunner

T = TypeVar("T")

DEFAULT_USER = "user"
_PROVISION_SECONDS, _FINALIZE_SECONDS = 600.0, 300.0
# A chain that has grown longer by steps that were changed one after the other is built anew, into one layer.
_MAX_LAYERS = 60
_OS_RELEASE = "cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release"


@dataclass(frozen=True, slots=True)
class Tools:
    """What all builds of a node share."""

    bases: Bases
    sandboxes: BuildSandboxes
    layers: Layers
    files: Files
    builds: FinishedBuilds


class RecipeRun:
    """One build. `run` is called once; cancelled or failed, nothing of it is left but layers that can be built upon."""

    def __init__(self, order: BuildOrder, tools: Tools, log: BuildLog) -> None:
        self._order = order
        self._tools = tools
        self._log = log
        self._stack = AsyncExitStack()
        self._sandbox: BuildSandbox | None = None
        self._is_touched = False  # by the step that runs
        self._layers: tuple[str, ...] = ()
        self._snapshot_id: str | None = None
        self._context = BuildContext()
        self._digest = ""
        self._is_cached = not order.force
        self._inherited: StartCommand | None = None

    async def run(self) -> int:
        """The size of its files in MiB once sandboxes can start from it. `PhaseError` for what the recipe is to blame for."""
        began = time.monotonic()
        order = self._order
        self._log.write("info", f"Building template {order.template_id}/{order.build_id}")
        async with self._stack:
            await self._base()
            for number, step in enumerate(order.steps, 1):
                await self._step(number, step)
            await self._finalize()
        size_mib = await self._publish()
        self._log.write("info", f"Build finished, took {time.monotonic() - began:.1f}s")
        return size_mib

    async def _base(self) -> None:
        order = self._order
        if order.base_build_id is not None:
            await self._base_from_template(order.base_build_id)
            return
        self._digest = layer_hash.base_hash(self._tools.bases.version, order.source)
        found = await self._look(self._digest)
        self._say(BASE, order.source, found)
        if found is None:
            self._is_cached = False
            await self._base_from_image()
        if order.version == V2_1:
            await self._default_user()

    async def _base_from_image(self) -> None:
        order = self._order
        self._log.write(DEBUG, "Requesting Docker Image", self._fields(BASE))
        try:
            base = await self._tools.bases.get(order, lambda line: self._log.write("info", line, self._fields(BASE)))
        except SandbankError as error:
            raise PhaseError(BASE, error.message) from error
        self._layers, self._context = base.layers, BuildContext(env_vars=base.env_vars)
        self._log.write("info", "Provisioning sandbox template", self._fields(BASE))
        sandbox, distribution = await self._guarded(BASE, self._get_sandbox()), await self._get_distribution()
        output = StepOutput(self._log, "[base]", self._fields(BASE), level=DEBUG)
        try:
            async with asyncio.timeout(_PROVISION_SECONDS):
                script = provisioning.provision_script(distribution)
                ended = await self._guarded(BASE, sandbox.run(AgentCommand(script, shell=SH, cwd="/"), output))
        except TimeoutError:
            raise PhaseError(BASE, f"provisioning took longer than {_PROVISION_SECONDS:.0f} seconds") from None
        finally:
            output.close()
        if not ended.is_good:
            tail = "\n".join(output.tail[-30:])
            what = ended.error or f"exit status: {ended.code}"
            raise PhaseError(BASE, f"error waiting for provisioning sandbox: {what}; provisioning output tail:\n{tail}")
        await self._keep()

    async def _default_user(self) -> None:
        self._digest = layer_hash.chain(self._digest, "DEFAULT USER", DEFAULT_USER)
        found = await self._look(self._digest)
        self._say(BASE, f"DEFAULT USER {DEFAULT_USER}", found)
        if found is not None:
            return
        self._is_cached = False
        await self._add_user()
        self._context = replace(self._context, user=DEFAULT_USER)
        await self._keep()

    async def _add_user(self) -> None:
        await self._script(BASE, "[base]", provisioning.user_script(), _PROVISION_SECONDS)

    async def _get_distribution(self) -> Distribution:
        """By what the image says of itself, read inside: on the node a link in it might lead anywhere."""
        sandbox, release = await self._guarded(BASE, self._get_sandbox()), Printed()
        try:
            await self._guarded(BASE, sandbox.run(AgentCommand(_OS_RELEASE, shell=SH, cwd="/"), release))
        except PhaseError as error:
            raise PhaseError(
                BASE, f"no command can be run in this image, which needs /bin/sh and root in /etc/passwd: {error.message}"
            ) from error
        try:
            return detect(release.text, lambda text: self._log.write(WARN, text, self._fields(BASE)))
        except InvalidError as error:
            raise PhaseError(BASE, error.message) from error

    async def _base_from_template(self, build_id: str) -> None:
        self._digest = layer_hash.base_hash(self._tools.bases.version, f"template:{build_id}")
        self._say(BASE, self._order.source, LayerEntry((), self._context))
        lacking = PhaseError(BASE, "error getting base template, you may need to rebuild it first")
        try:
            build = await self._tools.builds.find(build_id)
            if build is None and not self._tools.builds.has_snapshot(build_id):
                raise lacking
        except SandbankError as error:
            raise lacking from error
        if build is None:  # of a sandbox that somebody made a snapshot of
            self._snapshot_id, self._context = build_id, BuildContext(user=DEFAULT_USER)
            return
        self._layers, self._context = tuple(layer.name for layer in build.layers), build.context
        if build.start is not None and not self._order.start_command and not self._order.ready_command:
            self._inherited = build.start

    async def _step(self, number: int, step: Step) -> None:
        name, total = str(number), len(self._order.steps)
        self._digest = layer_hash.step_hash(self._digest, step)
        if step.force:
            self._is_cached = False
        found = await self._look(self._digest)
        prefix = f"[builder {number}/{total}]"
        self._say(name, step.text, found, prefix)
        if found is not None:
            return
        self._is_cached = False
        output = StepOutput(self._log, prefix, self._fields(name))
        self._is_touched = False
        try:
            runner = StepRunner(self._order, self._tools.files, self._get_sandbox)
            self._context = await runner.run(step, self._context, output)
        except SandbankError as error:
            raise PhaseError(name, error.message) from error
        finally:
            output.close()
        if self._is_touched:
            await self._keep()
        elif self._snapshot_id is None:
            await self._remember()

    async def _finalize(self) -> None:
        order = self._order
        self._digest = layer_hash.chain(self._digest, "finalize", order.build_id)
        self._say(FINALIZE, "Finalizing template build", None)
        if order.version != V2_1 and order.base_build_id is None:
            await self._add_user()
        identity = {"ENV_ID": order.template_id, "TEMPLATE_ID": order.template_id, "BUILD_ID": order.build_id}
        await self._script(FINALIZE, "[config]", provisioning.finalize_script(identity), _FINALIZE_SECONDS)
        sandbox = await self._get_sandbox()
        await self._guarded(FINALIZE, self._save(sandbox))
        await self._stack.aclose()
        self._sandbox = None
        await self._start()

    async def _start(self) -> None:
        """Run what the template starts with, and keep its memory if this node can: then creates need not start it again."""
        result = self.result
        start = result.start
        if start is None:
            return
        wish = SandboxWish(self._layers, default_user=result.default_user, default_workdir=result.default_workdir)
        async with self._tools.sandboxes.open(self._order, wish) as sandbox:
            await self._guarded(FINALIZE, self._wait_ready(sandbox, start))
            if not start.command:
                return
            try:
                await sandbox.save_memory(memory_name(self._order.build_id))
            except (ConflictError, UnavailableError) as error:
                text = f"The start command will run in each new sandbox, since its memory cannot be kept: {error.message}"
                self._log.write(WARN, text, self._fields(FINALIZE))

    async def _wait_ready(self, sandbox: BuildSandbox, start: StartCommand) -> None:
        fields = self._fields(FINALIZE)
        started = StepOutput(self._log, "[start]", fields)
        asked = StepOutput(self._log, "[ready]", fields, level=DEBUG)
        if start.command:
            self._log.write("info", f"Running start command: {start.command}", fields)
        self._log.write("info", f"Waiting for template to be ready: {start.ready}", fields)
        try:
            await start_and_wait(sandbox, start, Outputs(started, asked))
        finally:
            started.close()
            asked.close()
        self._log.write("info", "Template is ready", fields)

    @property
    def result(self) -> Result:
        """What the build is besides its files, by the rules of the client's generation (§1.0)."""
        order, context = self._order, self._context
        user, workdir = DEFAULT_USER, None
        if order.version == V1:
            workdir = f"/home/{DEFAULT_USER}"
        elif order.version == V2_1:
            user, workdir = context.user, context.workdir
        start = self._inherited
        if order.start_command or order.ready_command:
            running = replace(context, user=user, workdir=workdir) if order.version == V1 else context
            start = StartCommand(order.start_command, order.ready_command, running)
        return Result(user, workdir, context, start)

    async def _publish(self) -> int:
        return await self._tools.builds.publish(self._order, self._layers, self.result)

    async def _look(self, digest: str) -> LayerEntry | None:
        """What is there already, if it may be used; then the build goes on from it."""
        if not self._is_cached:
            return None
        found = await self._tools.layers.find(self._order.scope, digest)
        if found is None or len(found.layers) > _MAX_LAYERS:
            return None
        self._layers, self._context, self._snapshot_id = found.layers, found.context, None
        return found

    async def _keep(self) -> None:
        await self._save(await self._get_sandbox())
        await self._remember()

    async def _save(self, sandbox: BuildSandbox) -> None:
        self._layers, self._snapshot_id = await sandbox.save_layer(), None

    async def _remember(self) -> None:
        await self._tools.layers.put(self._order.scope, self._digest, LayerEntry(self._layers, self._context))

    async def _get_sandbox(self) -> BuildSandbox:
        self._is_touched = True
        if self._sandbox is None:
            wish = SandboxWish(self._layers, self._snapshot_id)
            self._sandbox = await self._stack.enter_async_context(self._tools.sandboxes.open(self._order, wish))
        return self._sandbox

    async def _script(self, step: str, prefix: str, script: str, seconds: float) -> None:
        output = StepOutput(self._log, prefix, self._fields(step), level=DEBUG)
        sandbox = await self._guarded(step, self._get_sandbox())
        try:
            async with asyncio.timeout(seconds):
                ended = await self._guarded(step, sandbox.run(AgentCommand(script, shell=SH, cwd="/"), output))
        except TimeoutError:
            raise PhaseError(step, f"configuration script failed: it took longer than {seconds:.0f} seconds") from None
        finally:
            output.close()
        if not ended.is_good:
            said = "\n".join(["", *output.tail[-10:]])
            raise PhaseError(step, f"configuration script failed: {ended.error or ended.status}{said}")

    async def _guarded(self, step: str, work: Awaitable[T]) -> T:
        try:
            return await work
        except SandbankError as error:
            raise PhaseError(step, error.message) from error

    def _say(self, step: str, text: str, cached: LayerEntry | None, prefix: str = "") -> None:
        mark = "CACHED " if cached is not None else ""
        shown = self._digest[: layer_hash.SHOWN_CHARACTERS]
        self._log.write("info", f"{mark}{prefix or f'[{step}]'} {text} [{shown}]", self._fields(step))

    def _fields(self, step: str) -> Mapping[str, str]:
        return {"step": step}
