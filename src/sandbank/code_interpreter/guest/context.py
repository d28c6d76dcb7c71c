"""One context: a kernel, its working directory and variables, and one cell at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from . import events
from .events import Event
from .kernel import Kernel, KernelEndedError, KernelFailedError
from .languages import Language

log = logging.getLogger(__name__)

INTERRUPT_SECONDS = 1.0
INTERRUPTS = 20
"""A cell whose client has gone is interrupted every second; after so many that it ignored, its kernel is replaced."""


class Context:
    """Its kernel is started by the first that needs it, and replaced when it has ended."""

    def __init__(self, language: Language, cwd: str, make_kernel: Callable[[], Kernel]) -> None:
        self.id = str(uuid.uuid4())
        self.language = language
        self.cwd = cwd
        self._make_kernel = make_kernel
        self._kernel: Kernel | None = None
        self._lock = asyncio.Lock()
        self._starting = asyncio.Lock()
        self._variables: Mapping[str, str] | None = None  # of the sandbox; None: not told to this kernel
        self._lost = ""  # what the next cell has to be told of the kernel before
        self._closed = False
        self._settling: set[asyncio.Task[None]] = set()

    def describe(self) -> dict[str, str]:
        """As clients see it."""
        return {"id": self.id, "language": self.language.name, "cwd": self.cwd}

    async def start(self) -> Kernel:
        """The kernel, started if there is none; raises `KernelFailedError`."""
        async with self._starting:
            if self._closed:
                raise KernelFailedError("the context is closed")
            if self._kernel is not None and self._kernel.alive():
                return self._kernel
            if self._kernel is not None:
                await self._kernel.close()
                self._lost = self._lost or "The kernel had ended and was started anew: what earlier cells defined is gone.\n"
            self._kernel = None
            self._variables = None
            kernel = self._make_kernel()
            await kernel.start(_existing(self.cwd))
            self._kernel = kernel
            return kernel

    async def execute(self, code: str, variables: Mapping[str, str], sandbox_variables: Callable[[], Any]) -> AsyncIterator[Event]:
        """What a cell does, to its end. Closed or cancelled before that, the cell is interrupted, and the next one waits for it.

        `variables` are set for this cell only; `sandbox_variables` finds those of the sandbox, before the first cell of a kernel.
        """
        await self._lock.acquire()
        kernel: Kernel | None = None
        whole = False
        try:
            kernel = await self.start()
            lost, self._lost = self._lost, ""
            if lost:
                yield events.output("stderr", lost)
            restore = await self._prepare(kernel, variables, sandbox_variables)
            async for event in kernel.execute(code):
                yield event
            if restore:
                await silently(kernel, restore)
            whole = True
        except KernelEndedError:
            whole = True
            self._lost = ""
            if self._kernel is kernel:
                self._kernel = None  # the next cell may come before the new one: it is not to be told again
            yield events.restarted()
            self._keep(self._replace(kernel))
        except KernelFailedError as failure:
            whole = True
            yield events.error("KernelFailed", str(failure))
        finally:
            if whole or kernel is None:
                self._lock.release()
            else:
                self._keep(self._settle(kernel, variables))

    async def _prepare(self, kernel: Kernel, variables: Mapping[str, str], sandbox_variables: Callable[[], Any]) -> str:
        """Tells the kernel its variables; returns the code that takes back those of one cell."""
        first = self._variables is None
        if first:
            self._variables = await sandbox_variables()
        known: Mapping[str, str] = self._variables or {}
        told = {**(known if first else {}), **variables}
        code = self.language.environment_code(told)
        if first and self.language.after_birth:
            code = f"{self.language.after_birth}\n{code}"
        if code:
            await silently(kernel, code)
        return self.language.environment_code({name: known.get(name, os.environ.get(name)) for name in variables})

    async def _settle(self, kernel: Kernel, variables: Mapping[str, str]) -> None:
        """Ends what nobody listens to any more, then lets the next cell in."""
        try:
            for _ in range(INTERRUPTS):
                await kernel.interrupt()
                if await kernel.settle(INTERRUPT_SECONDS):
                    known = self._variables or {}
                    restore = self.language.environment_code({name: known.get(name, os.environ.get(name)) for name in variables})
                    if restore:
                        await silently(kernel, restore)
                    return
                if not kernel.alive():
                    break
            await kernel.close()
            self._lost = "The cell before could not be interrupted; the kernel was started anew: what earlier cells defined is gone.\n"
        except KernelEndedError:
            await kernel.close()
        finally:
            self._lock.release()

    async def _replace(self, kernel: Kernel | None) -> None:
        if kernel is not None:
            await kernel.close()
        try:
            await self.start()
        except KernelFailedError:
            log.exception("no new kernel for context %s", self.id)
        self._lost = ""  # the cell in which it ended has said so

    async def restart(self) -> None:
        """A new kernel; a cell that runs ends with the error that says so. Raises `KernelFailedError`."""
        kernel = self._kernel
        if kernel is not None:
            await kernel.close()
        await self.start()
        self._lost = ""

    async def close(self) -> None:
        """Ends the kernel. Idempotent."""
        self._closed = True
        for task in list(self._settling):
            task.cancel()
        async with self._starting:
            if self._kernel is not None:
                await self._kernel.close()

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"context {self.id}")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)


def _existing(directory: str) -> str:
    """It was there when the context was made; cells may have removed it."""
    return directory if os.path.isdir(directory) else "/"


async def silently(kernel: Kernel, code: str) -> None:
    """Runs code of ours; its failure is nobody's error but is said in the log."""
    async for event in kernel.execute(code, silent=True):
        log.warning("a kernel refused %r: %s", code[:100], event)
