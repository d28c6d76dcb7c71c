"""Where sandboxes hand in their log lines: a listener of the node's in each sandbox's network (ADR 0010)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import structlog
from google.protobuf.message import DecodeError

from sandbank.aiokit.pace import Pace
from sandbank.aiokit.tasks import TaskGroup
from sandbank.contracts.orchestrator import SandboxConfig
from sandbank.domain.errors import SandbankError
from sandbank.domain.log_record import ORCHESTRATOR, LogRecord, LogSubject
from sandbank.orchestrator.core.log_line import LogOrigin, parse_line
from sandbank.orchestrator.core.log_lines import LineCutter
from sandbank.orchestrator.core.ports import LogSink
from sandbank.orchestrator.core.sandbox import RunningSandbox

LOG_PORT = 49982
LINE_COST_BYTES = 256
"""What a line costs besides its length: many small ones are more work than a long one."""

NODE_BYTES_PER_SECOND = 2 * 1024 * 1024
SANDBOX_BYTES_PER_SECOND = 128 * 1024
SANDBOX_BURST_BYTES = 1024 * 1024
CONNECTION_SECONDS = 30.0
_CONNECTION_BYTES = 256 * 1024  # the agent sends 64 KiB at most
_PIECE_BYTES = 4 * 1024  # small, so that those who send little wait briefly behind those who send much
_TURN_LINES = 16  # then others', or a piece of nothing but line ends would cost them half a second each
_RETRY_SECONDS = 1.0
_NOTICE_SECONDS = 10.0
_ACCEPTED = b"\n"

Listen = Callable[[str, int], socket.socket]


class LogChannels:
    """Takes lines from one connection per sandbox at a time; all others wait in the kernel, and with them who sends too much.

    Everything is bounded by the node: `Pace` says when the next piece is read, of a sandbox's and of all together.
    """

    def __init__(self, listen: Listen, sink: LogSink, tasks: TaskGroup, node_pace: Pace | None = None) -> None:
        self._listen = listen
        self._sink = sink
        self._tasks = tasks
        self._node_pace = node_pace or Pace(NODE_BYTES_PER_SECOND, 4 * NODE_BYTES_PER_SECOND)
        self._channels: dict[str, _Channel] = {}
        self._log = structlog.get_logger("sandbank.orchestrator")

    def open(self, sandbox: RunningSandbox) -> None:
        """Take its lines from now on. That it cannot be done is logged; the sandbox runs all the same."""
        self.close(sandbox.sandbox_id)
        try:
            listener = self._listen(sandbox.sandbox_id, LOG_PORT)
        except (OSError, SandbankError) as error:
            self._log.warning("no logs will come from a sandbox", sandbox_id=sandbox.sandbox_id, error=str(error))
            return
        origin = LogOrigin(subject_of(sandbox), int(sandbox.started_at.timestamp()) * 1_000_000_000)
        channel = _Channel(listener, origin, self._sink, self._node_pace, self._tasks)
        self._channels[sandbox.sandbox_id] = channel
        channel.resume()

    def close(self, sandbox_id: str) -> None:
        """Take nothing more, at once: the next sandbox in that network must not find this one's listener. Idempotent."""
        channel = self._channels.pop(sandbox_id, None)
        if channel is not None:
            channel.close()

    def close_all(self) -> None:
        """The sandboxes keep their lines for the next orchestrator."""
        for sandbox_id in list(self._channels):
            self.close(sandbox_id)


class _Channel:
    def __init__(self, listener: socket.socket, origin: LogOrigin, sink: LogSink, node_pace: Pace, tasks: TaskGroup) -> None:
        self._listener = listener
        self._origin = origin
        self._sink = sink
        self._node_pace = node_pace
        self._pace = Pace(SANDBOX_BYTES_PER_SECOND, SANDBOX_BURST_BYTES)
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._refused: dict[str, int] = {}
        self._noticed = 0.0

    def resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
        self._notice(force=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # gone again
            return
        except OSError:  # no descriptors left, which may pass
            self._loop.remove_reader(self._listener.fileno())
            self._loop.call_later(_RETRY_SECONDS, self.resume)
            return
        connection.setblocking(False)
        self._loop.remove_reader(self._listener.fileno())
        self._task = self._tasks.start(f"logs.{self._origin.subject.sandbox_id}", self._take(connection))

    async def _take(self, connection: socket.socket) -> None:
        try:
            with connection:
                async with asyncio.timeout(CONNECTION_SECONDS):
                    await self._read(connection)
        except (OSError, TimeoutError):  # it left, or says nothing
            pass
        finally:
            self._task = None
        # Cancelled, the channel is closed.
        self._notice()
        # Whoever connects for nothing pays for it, too.
        await asyncio.sleep(self._pace.delay(LINE_COST_BYTES, self._loop.time()))
        self.resume()

    async def _read(self, connection: socket.socket) -> None:
        cutter = LineCutter()
        total = 0
        try:
            while piece := await self._loop.sock_recv(connection, _PIECE_BYTES):
                total += len(piece)
                if total > _CONNECTION_BYTES:
                    self._refuse("too_long", 1)
                    return
                for turn in _turns(piece):
                    await self._wait(turn)
                    self._store(cutter.feed(turn))
            self._store(cutter.feed(b"\n"))
            await self._loop.sock_sendall(connection, _ACCEPTED)
        finally:
            self._refuse("too_long", cutter.too_long)

    async def _wait(self, piece: bytes) -> None:
        cost = len(piece) + LINE_COST_BYTES * piece.count(b"\n")
        for pace in (self._pace, self._node_pace):
            await asyncio.sleep(pace.delay(cost, self._loop.time()))

    def _store(self, lines: list[bytes]) -> None:
        now_ns = time.time_ns()
        for line in lines:
            record = parse_line(line, self._origin, now_ns)
            if record is None:
                self._refuse("not_json", 1)
            else:
                self._sink.write(record)

    def _refuse(self, why: str, count: int) -> None:
        if count:
            self._refused[why] = self._refused.get(why, 0) + count

    def _notice(self, *, force: bool = False) -> None:
        """Say in the log itself what was left out of it, every few seconds at most."""
        now = self._loop.time()
        if not self._refused or (now - self._noticed < _NOTICE_SECONDS and not force):
            return
        refused, self._refused, self._noticed = self._refused, {}, now
        self._sink.write(
            LogRecord(time.time_ns(), self._origin.subject, ORCHESTRATOR, "warn", "Log lines were refused", {"logger": "logs", **refused})
        )


def _turns(piece: bytes) -> Iterator[bytes]:
    """`piece` in parts of few lines, so that those who wait for one another do so for little."""
    begin = 0
    while begin < len(piece):
        end = begin
        for _ in range(_TURN_LINES):
            end = piece.find(b"\n", end) + 1
            if not end:
                end = len(piece)
                break
        yield piece[begin:end]
        begin = end


def subject_of(sandbox: RunningSandbox) -> LogSubject:
    """The IDs that a sandbox's lines are stamped with."""
    config = SandboxConfig()
    with contextlib.suppress(DecodeError):  # a record of another version
        config.ParseFromString(sandbox.config)
    return LogSubject(sandbox.team_id, sandbox.sandbox_id, config.template_id, config.build_id)
