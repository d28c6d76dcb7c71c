"""Speaking to CRIU: one request on the socket of a `criu swrk`, its notices answered on the way (CRIU's RPC protocol)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from sandbank.contracts.criu_rpc import CRIU_NOTIFY, CriuOptions, CriuRequest, CriuRequestType, CriuResponse
from sandbank.runtime.snapshot.criu_log import reason

_MOST_BYTES = 65536
_END_SECONDS = 5.0
_log = structlog.get_logger(__name__)

OnNotice = Callable[[str, int], Awaitable[None]]  # the notice's name and, with some, the pid of the tree's first process


class CriuError(Exception):
    """CRIU refused, failed or died; the text is a reason in one line."""


async def ask(
    connection: socket.socket, kind: CriuRequestType.ValueType, options: CriuOptions, on_notice: OnNotice, log: Path
) -> CriuResponse:
    """Make one request and return its answer. `connection` is a non-blocking SOCK_SEQPACKET one whose other end a `criu swrk` has.

    An error of `on_notice` makes CRIU give up and undo what it can, and is raised here once it has. `CriuError` otherwise. Cancelled, CRIU
    is left to find its socket closed: whoever has started it ends it.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, CriuRequest(type=kind, opts=options).SerializeToString())
    failure: Exception | None = None
    while True:
        try:
            data = await loop.sock_recv(connection, _MOST_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            raise failure or CriuError(await asyncio.to_thread(reason, log) or "CRIU ended without an answer")
        response = CriuResponse.FromString(data)
        if response.type != CRIU_NOTIFY:
            break
        try:
            await on_notice(response.notify.script, response.notify.pid)
        except Exception as error:  # noqa: BLE001  # CRIU is told, and the caller once CRIU has undone its work
            failure = error
        answer = CriuRequest(type=CRIU_NOTIFY, notify_success=failure is None)
        await loop.sock_sendall(connection, answer.SerializeToString())
    if not response.success:
        raise failure or CriuError(await asyncio.to_thread(reason, log) or response.cr_errmsg or f"CRIU failed, error {response.cr_errno}")
    return response


async def run(command: list[str], kind: CriuRequestType.ValueType, options: CriuOptions, on_notice: OnNotice, log: Path) -> CriuResponse:
    """As `ask`, of a CRIU started for it, in a process group of its own that has ended when this returns or raises."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine:
        mine.setblocking(False)
        with theirs:
            criu = await asyncio.create_subprocess_exec(
                *command,
                "swrk",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        try:
            return await ask(mine, kind, options, on_notice, log)
        finally:
            mine.close()  # it ends by itself now
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await criu.wait()
            except (TimeoutError, asyncio.CancelledError):
                criu.kill()
                raise
