"""Kernels that speak Jupyter's protocol over ZeroMQ, on sockets in a directory that only root can enter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import secrets
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from . import events
from .events import Event
from .kernel import KernelEndedError, KernelFailedError

START_SECONDS = 60.0
LATE_OUTPUT_SECONDS = 2.0  # how long output may come after the kernel said that the cell is done
LOOK_SECONDS = 0.5  # how often a silent kernel is looked at
NOTICE_SECONDS = 5.0  # after which nobody is going to notice that the kernel has ended: its client does not read
MESSAGES_KEPT = 100_000  # that the kernel is ahead of us: beyond it, ZeroMQ drops the newest


class JupyterKernel:
    """`argv` may name `{connection_file}`. Sockets are Unix ones: they survive that a sandbox is resumed with other addresses."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], run_directory: Path) -> None:
        self._argv = list(argv)
        self._environment = dict(environment)
        self._name = secrets.token_hex(8)
        self._directory = run_directory
        self._manager: Any = None
        self._client: Any = None
        self._current = ""
        self._unheard = asyncio.Event()  # nobody waits on a socket
        self._unheard.set()

    async def start(self, cwd: str) -> None:
        """As `Kernel.start`."""
        context = zmq.asyncio.Context()
        context.setsockopt(zmq.RCVHWM, MESSAGES_KEPT)
        manager = AsyncKernelManager(
            context=context,
            transport="ipc",
            ip=str(self._directory / self._name),
            connection_file=str(self._directory / f"{self._name}.json"),
        )
        manager._kernel_spec = KernelSpec(argv=self._argv, display_name=self._name, interrupt_mode="signal")
        self._manager = manager
        try:
            await manager.start_kernel(cwd=cwd, env=self._environment)
            self._client = AsyncKernelClient(context=context)
            self._client.load_connection_info(manager.get_connection_info())
            self._client.start_channels(stdin=False, hb=False)
            await asyncio.wait_for(self._hear_it(), START_SECONDS)
        except BaseException as error:
            await self.close()
            if isinstance(error, Exception):
                raise KernelFailedError(f"{self._argv[0]}: {error or type(error).__name__}") from error
            raise

    async def _hear_it(self) -> None:
        """Until the kernel answers and its output arrives, which takes a moment more: what is published to nobody is lost."""
        while True:
            asked = self._client.kernel_info()
            with contextlib.suppress(queue.Empty):
                while True:
                    message = await self._client.get_iopub_msg(timeout=0.2)
                    if message["parent_header"].get("msg_id") == asked:
                        return
            if not self.alive():
                raise KernelEndedError("it ended at once")

    async def execute(self, code: str, *, silent: bool = False) -> AsyncIterator[Event]:
        """As `Kernel.execute`."""
        self._unheard.clear()
        try:
            async for event in self._execute(code, silent=silent):
                yield event
        except zmq.ZMQError as error:  # closed in between
            raise KernelEndedError from error
        finally:
            self._unheard.set()

    async def _execute(self, code: str, *, silent: bool) -> AsyncIterator[Event]:
        current = self._current = self._client.execute(
            code, silent=silent, store_history=not silent, allow_stdin=False, stop_on_error=False
        )
        failed = False
        reply: dict[str, Any] | None = None
        while (message := await self._next_message(current, waiting=reply is None)) is not None:
            if message["parent_header"].get("msg_id") != current:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "execute_reply":
                reply = content
            elif kind == "status" and content["execution_state"] == "idle":
                break
            elif kind == "error":
                failed = True
                yield events.error(content["ename"], content["evalue"], "\n".join(content["traceback"]))
            elif not silent and (event := _event(kind, content, message["header"])):
                yield event
        reply = reply or await self._reply(current)
        self._current = ""
        if reply.get("status") == "error" and not failed:
            yield events.error(reply.get("ename", "Error"), reply.get("evalue", ""), "\n".join(reply.get("traceback", [])))
        elif reply.get("status") in {"abort", "aborted"} and not failed:
            yield events.error("ExecutionAborted", "Execution was aborted")

    async def _next_message(self, current: str, *, waiting: bool) -> Any:
        """The next thing the kernel says of anything; None when nothing more comes of a cell that is done."""
        end = asyncio.get_running_loop().time() + LATE_OUTPUT_SECONDS
        while True:
            with contextlib.suppress(queue.Empty):
                return await self._client.get_iopub_msg(timeout=LOOK_SECONDS)
            if not waiting and asyncio.get_running_loop().time() > end:
                return None
            if waiting:
                with contextlib.suppress(queue.Empty):
                    return await self._client.get_shell_msg(timeout=0)
            if not self.alive():
                raise KernelEndedError

    async def _reply(self, current: str) -> dict[str, Any]:
        while self.alive():
            with contextlib.suppress(queue.Empty):
                message = await self._client.get_shell_msg(timeout=LOOK_SECONDS)
                if message["parent_header"].get("msg_id") == current:
                    content: dict[str, Any] = message["content"]
                    return content
        raise KernelEndedError

    async def interrupt(self) -> None:
        """As `Kernel.interrupt`: SIGINT, to all processes of the kernel's group."""
        with contextlib.suppress(ProcessLookupError, RuntimeError):
            await self._manager.signal_kernel(signal.SIGINT)

    async def settle(self, seconds: float) -> bool:
        """As `Kernel.settle`."""
        if not self._current:
            return True
        self._unheard.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._reply(self._current)
        except (TimeoutError, KernelEndedError, zmq.ZMQError):
            return False
        finally:
            self._unheard.set()
        self._current = ""
        return True

    def alive(self) -> bool:
        """As `Kernel.alive`."""
        process = getattr(getattr(self._manager, "provisioner", None), "process", None)
        return process is not None and process.poll() is None and not _is_ending(process.pid)

    async def close(self) -> None:
        """As `Kernel.close`."""
        manager, self._manager = self._manager, None
        if manager is None:
            return
        process = getattr(manager.provisioner, "process", None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
        # Whoever waits on a socket finds out by itself; to close it would look to them like being cancelled.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._unheard.wait(), NOTICE_SECONDS)
        if self._client is not None:
            self._client.stop_channels()
        manager.context.destroy(linger=0)
        for path in self._directory.glob(f"{self._name}*"):
            path.unlink(missing_ok=True)


def _is_ending(pid: int) -> bool:
    """Whether a process is past its end but for threads of its own that the kernel still clears away: no wait hears of it until then."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


def _event(kind: str, content: Mapping[str, Any], header: Mapping[str, Any]) -> Event | None:
    if kind == "stream":
        at = header.get("date")
        return events.output(content["name"], content["text"], at.isoformat().replace("+00:00", "Z") if isinstance(at, datetime) else at)
    if kind == "execute_input":
        return events.execution_count(content["execution_count"])
    if kind == "display_data":
        return events.result(content["data"], is_main=False)
    if kind == "execute_result":
        return events.result(content["data"], is_main=True)
    return None
