"""The zygote seen from the driver: start it, start it again when it dies, ask it for namespaces and sandboxes."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import socket
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from sandbank.aiokit.tasks import TaskGroup, finish
from sandbank.domain.errors import InternalError, UnavailableError
from sandbank.runtime.bundle import assemble
from sandbank.runtime.drivers.namespaces import process
from sandbank.runtime.drivers.namespaces.heaps import Heaps
from sandbank.runtime.drivers.namespaces.spawn_request import FORK_NAMES, MAKE_NAMESPACES, PREPARE, SPAWN, SpawnRequest
from sandbank.runtime.linux import privileges

_START_SECONDS = 15.0
_NAMESPACES_SECONDS = 10.0
# A zygote that dies right after its start shall not be started in a spin.
_SHORTEST_LIFE_SECONDS = 0.5
_REAP_SECONDS = 1.0
_LAST_FORKS_SECONDS = 0.05  # forks that wait ahead end by themselves when their zygote has
# Forks that wait for their request, which saves a create the fork; some 1.5 MiB each.
FORKS_AHEAD = 4
# Making up for a fork that was taken shall not compete for the processor with the sandbox that took it.
_REFILL_SECONDS = 0.02

_log = structlog.get_logger(__name__)


class ZygoteClient:
    """One zygote at a time. Requests that find it dead wait for the next one, up to their own deadline."""

    def __init__(self, bundle: Path, heaps: Heaps) -> None:
        self._bundle = bundle
        self._heaps = heaps
        self._control: socket.socket | None = None
        self._ready = asyncio.Event()
        self._tasks = TaskGroup("zygote", lambda name, error: _log.error("zygote watch failed", task=name, error=repr(error)))
        self._forks: collections.deque[socket.socket] = collections.deque()
        self._taken = asyncio.Event()
        self._child_pid = 0
        self.pid = 0

    async def start(self) -> None:
        """Return when it takes requests."""
        privileges.become_subreaper()  # sandboxes whose zygote died come to us, and are reaped
        self._tasks.start("watch", self._keep_alive())
        self._tasks.start("reap orphans", self._reap_orphans())
        self._tasks.start("fork ahead", self._fork_ahead())
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._ready.wait()
        except TimeoutError as error:
            raise InternalError("the zygote did not start; its reason is in the log") from error

    async def close(self) -> None:
        """Let it end. Sandboxes stay."""
        await self._tasks.close()
        await asyncio.sleep(_LAST_FORKS_SECONDS)
        process.reap_orphans(FORK_NAMES, spare=0)

    async def make_namespaces(self, base_uid: int) -> tuple[int, int]:
        """User and network namespace, as descriptors that the caller owns, for the 65,536 host uids from `base_uid` on."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)
        try:
            async with asyncio.timeout(_NAMESPACES_SECONDS):
                with theirs:
                    await self._send(f"{MAKE_NAMESPACES} {base_uid}", [theirs.fileno()])
                await _readable(mine)
                said, descriptors, _, _ = socket.recv_fds(mine, 64, 2)
        except TimeoutError as error:
            raise UnavailableError("the zygote did not answer in time") from error
        finally:
            mine.close()
        if len(descriptors) != 2:
            raise UnavailableError(f"no namespaces could be made: {said.decode() or 'see the log of the zygote'}")
        return descriptors[0], descriptors[1]

    async def spawn(
        self, request: SpawnRequest, userns_fd: int, netns_fd: int, on_pid: Callable[[int], None], deadline_seconds: float
    ) -> None:
        """Fork a sandbox and return when its agent is ready.

        `on_pid` is called as soon as the number of its pid 1 is known, also when the rest then fails: from
        that moment there is something to kill. `InternalError` names the step that failed,
        `UnavailableError` means that the zygote died or took too long.
        """
        memory = os.memfd_create("request", os.MFD_CLOEXEC)
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            try:
                os.write(memory, request.encode())
                os.set_blocking(write_fd, True)
                async with asyncio.timeout(deadline_seconds):
                    await self._hand_over(SPAWN, [memory, userns_fd, netns_fd, write_fd])
            finally:
                os.close(memory)
                os.close(write_fd)
            async with asyncio.timeout(deadline_seconds):
                await self._follow(read_fd, on_pid)
        except TimeoutError as error:
            raise UnavailableError(f"the sandbox was not ready within {deadline_seconds:g} seconds") from error
        finally:
            os.close(read_fd)

    async def _follow(self, read_fd: int, on_pid: Callable[[int], None]) -> None:
        data = b""
        while b"ready\n" not in data:
            await _readable(read_fd)
            chunk = os.read(read_fd, 4096)
            data += chunk
            for line in data.decode(errors="replace").splitlines():
                word, _, rest = line.partition(" ")
                if word == "pid" and rest.isdigit() and (b"pid " + rest.encode() + b"\n") in data:
                    on_pid(int(rest))
                elif word == "error" and not chunk:
                    raise InternalError(f"the sandbox could not be started: {rest}")
            if not chunk:
                raise UnavailableError("the sandbox ended before its agent was ready")
        # The pid comes from another process than `ready` and may be the later one.
        while b"pid " not in data:
            await _readable(read_fd)
            chunk = os.read(read_fd, 4096)
            if not chunk:
                raise UnavailableError("the zygote ended before it could name the sandbox")
            data += chunk
        for line in data.decode(errors="replace").splitlines():
            if line.startswith("pid "):
                on_pid(int(line[4:]))

    async def carry_out(self, operation: str, request: bytes, descriptors: Sequence[int], deadline_seconds: float) -> dict[str, str]:
        """Have a fork do what `operation` stands for, and return its report: what it said, by the first word of each line.

        The request goes first and the pipe for the report last. `InternalError` names the step that failed, `UnavailableError` means that
        the zygote died or took too long.
        """
        memory = os.memfd_create("request", os.MFD_CLOEXEC)
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            try:
                os.write(memory, request)
                os.set_blocking(write_fd, True)
                async with asyncio.timeout(deadline_seconds):
                    await self._hand_over(operation, [memory, *descriptors, write_fd])
            finally:
                os.close(memory)
                os.close(write_fd)
            data = b""
            async with asyncio.timeout(deadline_seconds):
                while True:
                    await _readable(read_fd)
                    if not (chunk := os.read(read_fd, 4096)):
                        break
                    data += chunk
        except TimeoutError as error:
            raise UnavailableError(f"the zygote did not answer within {deadline_seconds:g} seconds") from error
        finally:
            os.close(read_fd)
        report = {word: rest for word, _, rest in (line.partition(" ") for line in data.decode(errors="replace").splitlines())}
        if "error" in report:
            raise InternalError(f"the sandbox could not be brought back: {report['error']}")
        return report

    async def _hand_over(self, operation: str, descriptors: list[int]) -> None:
        """To a fork made ahead, or to one made now."""
        while True:
            fork = self._forks.popleft() if self._forks else await self._prepare()
            self._taken.set()
            with fork:
                try:
                    socket.send_fds(fork, [operation.encode()], descriptors)
                    return
                except OSError:  # it was killed, or its zygote died before it could fork
                    await asyncio.sleep(0)

    async def _prepare(self) -> socket.socket:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                await self._send(PREPARE, [theirs.fileno()])
        except BaseException:
            mine.close()
            raise
        return mine

    async def _fork_ahead(self) -> None:
        while True:
            await self._ready.wait()
            self._taken.clear()
            while len(self._forks) < FORKS_AHEAD:
                self._forks.append(await self._prepare())
            await self._taken.wait()
            await asyncio.sleep(_REFILL_SECONDS)

    def _drop_forks(self) -> None:
        while self._forks:
            self._forks.popleft().close()
        self._taken.set()

    async def _send(self, text: str, descriptors: list[int]) -> None:
        while True:
            await self._ready.wait()
            control = self._control
            assert control is not None
            try:
                socket.send_fds(control, [text.encode()], descriptors)
                return
            except BlockingIOError:
                await _writable(control)
            except OSError:  # it died this instant; the watch will have seen it in a moment
                await asyncio.sleep(0.005)

    async def _keep_alive(self) -> None:
        while True:
            began = time.monotonic()
            child, control = await self._launch()
            self._child_pid = child.pid
            try:
                await _readable(control)
                if control.recv(16) == b"ready":
                    self._control, self.pid = control, child.pid
                    self._ready.set()
                code = await child.wait()
                _log.error("zygote ended, starting another", code=code, pid=child.pid)
            finally:
                self._ready.clear()
                self._control = None
                control.close()
                self._drop_forks()
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await finish(_ended(child))
            await asyncio.sleep(max(0.0, _SHORTEST_LIFE_SECONDS - (time.monotonic() - began)))

    async def _reap_orphans(self) -> None:
        while True:
            await asyncio.sleep(_REAP_SECONDS)
            process.reap_orphans(FORK_NAMES, self._child_pid)

    async def _launch(self) -> tuple[Process, socket.socket]:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)
        with theirs:
            child = await asyncio.create_subprocess_exec(
                *assemble.command(self._bundle, "sandbank.zygote", str(theirs.fileno()), str(self._heaps.new())),
                env=assemble.environment(self._bundle),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        return child, mine


async def _ended(child: Process) -> None:
    await child.wait()


async def _readable(source: int | socket.socket) -> None:
    await _event(source, writing=False)


async def _writable(source: int | socket.socket) -> None:
    await _event(source, writing=True)


async def _event(source: int | socket.socket, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    number = source if isinstance(source, int) else source.fileno()
    happened: asyncio.Future[None] = loop.create_future()

    def happen() -> None:
        if not happened.done():
            happened.set_result(None)

    (loop.add_writer if writing else loop.add_reader)(number, happen)
    try:
        await happened
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(number)
