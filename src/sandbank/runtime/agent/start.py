"""Starting what a template starts with, and waiting until it is ready (contract templates-and-data §1.10)."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol

from sandbank.artifacts.builds import StartCommand
from sandbank.artifacts.layer_index import BuildContext
from sandbank.domain.errors import InvalidError, SandbankError
from sandbank.runtime.agent.command import AgentCommand, Exit, OnOutput, with_path

READY_SECONDS = 600.0
# Between questions: soon at first, since most services take less than a second, and no more often than E2B does later.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 2.0
_NO_QUESTION, _NOTHING_STARTS = "sleep 20", "sleep 0"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Commands(Protocol):
    """A sandbox that runs commands; see `sandbank.runtime.agent.client.AgentClient.run`."""

    async def run(self, command: AgentCommand, on_output: OnOutput | None = None) -> Exit: ...


@dataclass(frozen=True, slots=True)
class Outputs:
    """Who hears what the two commands print."""

    start: OnOutput | None = None
    ready: OnOutput | None = None


async def start_and_wait(sandbox: Commands, start: StartCommand, outputs: Outputs, deadline_seconds: float = READY_SECONDS) -> None:
    """Return when the ready command has succeeded; what was started runs on.

    `InvalidError` when the start command fails before, or there is no success in time, `UnavailableError` when the sandbox ends. Cancelled
    or failed, what was started may run on: end the sandbox.
    """
    running = asyncio.ensure_future(sandbox.run(_command(start.command, start.context), outputs.start)) if start.command else None
    try:
        async with asyncio.timeout(deadline_seconds):
            await _until_ready(sandbox, start, outputs.ready, running)
    except TimeoutError:
        raise InvalidError(f"ready command failed: ready command timed out after {deadline_seconds:.0f} seconds") from None
    finally:
        if running is not None:
            running.cancel()  # the connection ends, the process does not
            with contextlib.suppress(asyncio.CancelledError, SandbankError):
                await running


async def _until_ready(sandbox: Commands, start: StartCommand, on_output: OnOutput | None, running: asyncio.Future[Exit] | None) -> None:
    question = _command(start.ready or (_NO_QUESTION if start.command else _NOTHING_STARTS), start.context)
    pause = _FIRST_PAUSE_SECONDS
    while True:
        asking = asyncio.ensure_future(sandbox.run(question, on_output))
        try:
            await asyncio.wait({asking, *(() if running is None or running.done() else (running,))}, return_when=asyncio.FIRST_COMPLETED)
            _check(running)
            ended = await asking
        finally:
            asking.cancel()
        if ended.is_good:
            _check(running)
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _check(running: asyncio.Future[Exit] | None) -> None:
    """A start command may end well, having left a service behind."""
    if running is None or not running.done():
        return
    try:
        ended = running.result()
    except SandbankError as error:
        raise type(error)(f"start command failed: {error.message}") from error
    if not ended.is_good:
        raise InvalidError(f"start command failed: {ended.error or ended.status}")


def exported(context: BuildContext) -> dict[str, str]:
    """The variables that commands of a build get: a PATH always leads to the system's programs as well (§1.2.3)."""
    env_vars = dict(context.env_vars)
    if "PATH" in env_vars:
        env_vars["PATH"] = f"{env_vars['PATH']}:{DEFAULT_PATH}"
    return env_vars


def _command(text: str, context: BuildContext) -> AgentCommand:
    env_vars = exported(context)
    return AgentCommand(with_path(text, env_vars), context.user, context.workdir, env_vars)
