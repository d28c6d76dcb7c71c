"""Speaking to CRIU: one request on the socket of a `criu swrk`, its notices answered on the way (CRIU's RPC protocol)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from sandbank.aiokit.tasks import finish
from sandbank.contracts.criu_rpc import CRIU_NOTIFY, CriuFeatures, CriuOptions, CriuRequest, CriuRequestType, CriuResponse
from sandbank.runtime.snapshot import criu_log
from sandbank.runtime.snapshot.tree import processes_of

_MOST_BYTES = 65536
_END_SECONDS = 5.0

OnNotice = Callable[[str, int], Awaitable[None]]  # the notice's name and, with some, the pid of the tree's first process


class CriuError(Exception):
    """CRIU refused, failed or died; the text is a reason in one line."""


class CriuSpaceError(CriuError):
    """There was no room for what CRIU had to write."""


class CriuDeadlineError(CriuError):
    """CRIU did not get done in its time."""


async def no_notice(name: str, pid: int) -> None:
    """For requests without notices, and for those who do not mind."""


async def ask(
    connection: socket.socket,
    kind: CriuRequestType,
    options: CriuOptions,
    on_notice: OnNotice,
    log: Path,
    features: CriuFeatures | None = None,
) -> CriuResponse:
    """Make one request and return its answer. `connection` is a non-blocking SOCK_SEQPACKET one whose other end a `criu swrk` has.

    `images_dir_fd` and `work_dir_fd` are numbers of the process that made the socket pair, those of `inherit_fd` are CRIU's own. An error
    of `on_notice` makes CRIU give up and undo what it can, and is raised here once it has. `CriuError` otherwise. Cancelled, CRIU is left
    to find its socket closed: whoever has started it ends it.
    """
    request = CriuRequest(type=kind, opts=options, features=features)
    failure: Exception | None = None
    try:
        while (response := await _exchange(connection, request)).type == CRIU_NOTIFY:
            try:
                await on_notice(response.notify.script, response.notify.pid)
            except Exception as error:  # noqa: BLE001  # CRIU is told, and the caller once CRIU has undone its work
                failure = failure or error
            request = CriuRequest(type=CRIU_NOTIFY, notify_success=failure is None)
    except (ConnectionError, DecodeError) as error:
        raise failure or await _failed(log, "CRIU ended without an answer") from error
    if failure is not None:
        raise failure
    if not response.success:
        raise await _failed(log, f"CRIU failed, error {response.cr_errno}", response.cr_errmsg)
    return response


async def run(
    command: Sequence[str],
    kind: CriuRequestType,
    options: CriuOptions,
    on_notice: OnNotice,
    log: Path,
    *,
    deadline_seconds: float = 120.0,
    descriptors: Sequence[int] = (),
    features: CriuFeatures | None = None,
) -> CriuResponse:
    """As `ask`, of a CRIU started for it, which has ended when this returns or raises; it finds `descriptors` under their numbers.

    Out of time or cancelled, CRIU is killed with all that came from it: half-restored processes are gone then, while those that were being
    dumped may be broken, and a cgroup that was given as `freeze_cgroup` may be left frozen.
    """
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    complaints = os.memfd_create("criu", os.MFD_CLOEXEC)  # what it says before it has a log
    with contextlib.closing(mine):
        mine.setblocking(False)
        try:
            criu = await _start(command, theirs, descriptors, complaints)
            try:
                async with asyncio.timeout(deadline_seconds) as limit:
                    return await ask(mine, kind, options, on_notice, log, features)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                await finish(_end_all(criu))
                raise CriuDeadlineError(f"CRIU did not get done in {deadline_seconds:g} seconds") from error
            except asyncio.CancelledError:
                await finish(_end_all(criu))
                raise
            except CriuError as error:
                if said := _last_line(complaints):
                    raise type(error)(f"{error}: {said}") from error
                raise
            finally:
                mine.close()  # it ends by itself now
                await finish(_wait(criu))
        finally:
            theirs.close()
            os.close(complaints)


async def _exchange(connection: socket.socket, request: CriuRequest) -> CriuResponse:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, request.SerializeToString())
    data = await loop.sock_recv(connection, _MOST_BYTES)
    if not data:
        raise ConnectionResetError
    return CriuResponse.FromString(data)


async def _start(command: Sequence[str], theirs: socket.socket, descriptors: Sequence[int], complaints: int) -> Process:
    with theirs:
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                "swrk",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno(), *descriptors],
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=complaints,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise CriuError(f"CRIU cannot be started: {error.strerror}: {command[0]}") from error


async def _wait(criu: Process) -> None:
    try:
        async with asyncio.timeout(_END_SECONDS):
            await criu.wait()
    except TimeoutError:
        criu.kill()  # only itself: what it has restored is its child as long as it lives
        await criu.wait()


async def _end_all(criu: Process) -> None:
    """Kill it and all its descendants, also those that have left its group: restored ones have sessions of their own."""
    found: dict[int, int] = {}
    if criu.returncode is None:
        # Who is stopped gets no more children.
        while fresh := [pid for pid in processes_of(criu.pid) if pid not in found]:
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError):
                    found[pid] = os.pidfd_open(pid)
                    signal.pidfd_send_signal(found[pid], signal.SIGSTOP)
        for pidfd in found.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    await criu.wait()
    for pidfd in found.values():
        await asyncio.to_thread(_await_end, pidfd)
        os.close(pidfd)


def _await_end(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    with contextlib.suppress(ChildProcessError):  # orphans are ours when this process is a subreaper
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)


async def _failed(log: Path, otherwise: str, first_error: str = "") -> CriuError:
    said = await asyncio.to_thread(criu_log.read_errors, log) or criu_log.find_errors(first_error)
    kind = CriuSpaceError if criu_log.lacks_space(said) else CriuError
    return kind(criu_log.explain(said) or otherwise)


def _last_line(complaints: int) -> str:
    lines = os.pread(complaints, _MOST_BYTES, 0).decode(errors="replace").split("\n")
    return criu_log.explain([line for line in lines if line.strip()][-1:])
