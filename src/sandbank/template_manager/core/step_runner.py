"""Running one step of a recipe (contract templates-and-data §1.2.3, §1.2.4). What it raises, the recipe's author reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from sandbank.artifacts.layer_index import BuildContext
from sandbank.domain.errors import InvalidError, SandbankError
from sandbank.runtime.agent.command import SH, STDOUT, AgentCommand, OnOutput, with_path
from sandbank.runtime.agent.printed import Printed
from sandbank.runtime.agent.start import exported
from sandbank.template_manager.core import step_scripts
from sandbank.template_manager.core.order import BuildOrder, Step
from sandbank.template_manager.core.ports import BuildSandbox, Files

STEP_SECONDS = 3600.0
_HEX = frozenset("0123456789abcdef")
_NAME_CHARACTERS = 1024

GetSandbox = Callable[[], Awaitable[BuildSandbox]]


class StepRunner:
    """Runs the steps of one order in whatever sandbox `get_sandbox` gives, which is asked only where a step needs one."""

    def __init__(self, order: BuildOrder, files: Files, get_sandbox: GetSandbox) -> None:
        self._order = order
        self._files = files
        self._get_sandbox = get_sandbox

    async def run(self, step: Step, context: BuildContext, on_output: OnOutput) -> BuildContext:
        """What the next step starts with. `InvalidError` for a step that is none or failed, `UnavailableError` when its sandbox ended."""
        match step.type:
            case "RUN":
                return await self._run(step, context, on_output)
            case "COPY" | "ADD":
                return await self._copy(step, context, on_output)
            case "ENV" | "ARG":
                return await self._set_variables(step, context)
            case "WORKDIR":
                return await self._change_directory(step, context, on_output)
            case "USER":
                return await self._change_user(step, context, on_output)
        raise InvalidError(f"command type {step.type} is not implemented")

    async def _run(self, step: Step, context: BuildContext, on_output: OnOutput) -> BuildContext:
        if not step.args or not step.args[0]:
            raise InvalidError("RUN requires command argument")
        text, user = step.args[0], (step.args[1] if len(step.args) > 1 and step.args[1] else context.user)
        env_vars = exported(context)
        command = AgentCommand(with_path(text, env_vars), user, context.workdir, env_vars)
        failure = f"failed to run command '{text}'"
        sandbox = await self._get_sandbox()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                ended = await sandbox.run(command, on_output)
        except TimeoutError:
            raise InvalidError(f"{failure}: it took longer than {STEP_SECONDS:.0f} seconds") from None
        except SandbankError as error:
            raise type(error)(f"{failure}: {error.message}") from error
        if not ended.is_good:
            raise InvalidError(f"{failure}: {ended.error or ended.status}")
        return context

    async def _copy(self, step: Step, context: BuildContext, on_output: OnOutput) -> BuildContext:
        source, destination, owner, mode = (*step.args, "", "", "", "")[:4]
        if not source or not destination:
            raise InvalidError("COPY requires a local path and a container path argument")
        digest = step.files_hash
        if not digest or len(digest) != 64 or not _HEX.issuperset(digest):
            raise InvalidError("COPY requires files hash to be set")
        archive = self._files.find(self._order.scope, digest)
        if archive is None:
            raise InvalidError(f"the files of '{step.text}' were not uploaded")
        sandbox = await self._get_sandbox()
        await sandbox.write_file(step_scripts.archive_path(digest), archive.stat().st_size, self._files.read(archive))
        script = step_scripts.copy_files(digest, source, destination, owner, mode, context.user, context.workdir or "")
        await self._script(script, on_output, f"failed to copy files of '{step.text}'")
        return context

    async def _set_variables(self, step: Step, context: BuildContext) -> BuildContext:
        if not step.args:
            raise InvalidError(f"{step.type} does not support passing no arguments")
        if len(step.args) % 2:
            raise InvalidError(f"{step.type} requires both a key and value arguments")
        pairs = list(zip(step.args[::2], step.args[1::2], strict=True))
        for name, value in pairs:
            if not name or "=" in name or "\0" in name + value or len(name) > _NAME_CHARACTERS:
                raise InvalidError(f"{step.type}: {name!r} is not the name of a variable")
        if any(step_scripts.needs_expansion(value) for _, value in pairs):
            pairs = await self._expand(pairs, context)
        return replace(context, env_vars={**context.env_vars, **dict(pairs)})

    async def _expand(self, pairs: list[tuple[str, str]], context: BuildContext) -> list[tuple[str, str]]:
        sandbox, printed = await self._get_sandbox(), Printed()
        ended = await sandbox.run(AgentCommand(step_scripts.expand(pairs), env_vars=exported(context), shell=SH), printed)
        values = printed.text.split("\0")[:-1]
        if not ended.is_good or len(values) != len(pairs):
            raise InvalidError(f"failed to expand the values of variables: {ended.error or ended.status}")
        return [(name, value) for (name, _), value in zip(pairs, values, strict=True)]

    async def _change_directory(self, step: Step, context: BuildContext, on_output: OnOutput) -> BuildContext:
        if not step.args or not step.args[0]:
            raise InvalidError("WORKDIR requires a path argument")
        script = step_scripts.make_workdir(step.args[0], context.workdir or "", context.user)
        printed = Printed()

        def take(stream: str, data: bytes) -> None:
            printed(stream, data)
            if stream != STDOUT:
                on_output(stream, data)

        await self._script(script, take, f"failed to make the working directory '{step.args[0]}'")
        return replace(context, workdir=printed.text.removesuffix("\n"))

    async def _change_user(self, step: Step, context: BuildContext, on_output: OnOutput) -> BuildContext:
        if not step.args or not step.args[0]:
            raise InvalidError("USER requires a name argument")
        name = step.args[0]
        script = step_scripts.add_user(name, administrator=len(step.args) > 1 and step.args[1] == "true")
        await self._script(script, on_output, f"failed to set the user '{name}'")
        return replace(context, user=name)

    async def _script(self, script: str, on_output: OnOutput, failure: str) -> None:
        sandbox = await self._get_sandbox()
        ended = await sandbox.run(AgentCommand(script, shell=SH, cwd="/"), on_output)
        if not ended.is_good:
            raise InvalidError(f"{failure}: {ended.error or ended.status}")
