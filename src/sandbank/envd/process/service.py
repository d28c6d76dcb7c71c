"""`process.Process`: the eight RPCs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

from sandbank.contracts.process import (
    CloseStdinRequest,
    CloseStdinResponse,
    ConnectRequest,
    ListRequest,
    ListResponse,
    ProcessEvent,
    ProcessInfo,
    ProcessInput,
    SendInputRequest,
    SendInputResponse,
    SendSignalRequest,
    SendSignalResponse,
    StartRequest,
    StreamInputRequest,
    StreamInputResponse,
    UpdateRequest,
    UpdateResponse,
)
from sandbank.domain.errors import InvalidError, SandbankError
from sandbank.envd.accounts import group_ids
from sandbank.envd.connect.calls import Call, MessageStream
from sandbank.envd.connect.procedures import ClientStream, ServerStream, Unary
from sandbank.envd.process.encoding import encode_event, encode_keepalive, encode_start
from sandbank.envd.process.journal import log_failure, log_run
from sandbank.envd.process.running import RunningProcess
from sandbank.envd.process.spawn import Command
from sandbank.envd.process.subscription import Subscription
from sandbank.envd.process.table import ProcessTable
from sandbank.envd.state import AgentState
from sandbank.envd.transport.connection import Handler
from sandbank.envd.transport.router import Router

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SIGNALS = {15: signal.SIGTERM, 9: signal.SIGKILL}
_DEFAULT_WINDOW = (80, 24)


class _ProcessEndedError(Exception):
    """Nobody is left to take what follows of a stream of input."""


class ProcessService:
    """Any caller may control any process: the access token is the border, not the user."""

    def __init__(self, state: AgentState, table: ProcessTable) -> None:
        self._state = state
        self._table = table

    def register(self, router: Router) -> None:
        """Put every RPC on its path."""
        procedures: dict[str, Handler] = {
            "List": Unary(ListRequest, self.list),
            "Connect": ServerStream(ConnectRequest, self.connect),
            "Start": ServerStream(StartRequest, self.start),
            "Update": Unary(UpdateRequest, self.update),
            "StreamInput": ClientStream(StreamInputRequest, self.stream_input),
            "SendInput": Unary(SendInputRequest, self.send_input),
            "SendSignal": Unary(SendSignalRequest, self.send_signal),
            "CloseStdin": Unary(CloseStdinRequest, self.close_stdin),
        }
        for name, procedure in procedures.items():
            router.add("POST", f"/process.Process/{name}", procedure)

    async def list(self, call: Call, request: ListRequest) -> ListResponse:
        """Every live process, as its caller described it."""
        return ListResponse(processes=[ProcessInfo(config=one.config, pid=one.pid, tag=one.tag) for one in self._table.list_processes()])

    async def start(self, call: Call, request: StartRequest, stream: MessageStream) -> None:
        """Run a command and stream its events. The command outlives the stream, but not the caller's deadline."""
        try:
            command = self._command(call, request)
            process = self._table.start(command, request.process, request.tag if request.HasField("tag") else None)
        except SandbankError as error:
            log_failure(request.process, error)
            raise
        log_run(process, command)
        subscription = process.subscribe()
        if call.deadline is not None:
            process.kill_at(call.deadline, subscription)
        process.start_pumping()
        await self._follow(call, process, subscription, stream)

    def _command(self, call: Call, request: StartRequest) -> Command:
        account = self._state.account(call.username)
        directory = self._state.resolve(request.process.cwd, account)
        environment = {"PATH": DEFAULT_PATH, "HOME": account.home, "USER": account.name, "LOGNAME": account.name, "PWD": directory}
        size = request.pty.size
        return Command(
            arguments=(request.process.cmd, *request.process.args),
            environment={**environment, **self._state.environment(), **request.process.envs},
            directory=directory,
            account=account,
            groups=group_ids(account),
            window=((size.cols, size.rows) if size.cols and size.rows else _DEFAULT_WINDOW) if request.HasField("pty") else None,
            with_stdin=request.stdin if request.HasField("stdin") else True,
        )

    async def connect(self, call: Call, request: ConnectRequest, stream: MessageStream) -> None:
        """Follow a process that runs, or hear how it ended a moment ago."""
        process = self._table.find(request.process)
        if process is None:
            finished = self._table.get_finished(request.process)
            await stream.send_payloads((encode_start(stream.codec, finished.pid), encode_event(stream.codec, finished.end)))
        else:
            await self._follow(call, process, process.subscribe(), stream)

    @staticmethod
    async def _follow(call: Call, process: RunningProcess, subscription: Subscription, stream: MessageStream) -> None:
        codec = stream.codec
        try:
            await stream.send_payloads((encode_start(codec, process.pid),))
            while True:
                try:
                    async with asyncio.timeout(call.keepalive_seconds):
                        events = await subscription.take()
                except TimeoutError:
                    await stream.send_payloads((encode_keepalive(codec),))
                    continue
                await stream.send_payloads(encode_event(codec, event) for event in events)
                if isinstance(events[-1], ProcessEvent.EndEvent):
                    return
        finally:
            process.unsubscribe(subscription)

    async def update(self, call: Call, request: UpdateRequest) -> UpdateResponse:
        """Resize a terminal; without a size nothing happens."""
        process = self._table.get(request.process)
        if request.HasField("pty"):
            process.resize(request.pty.size.cols, request.pty.size.rows)
        return UpdateResponse()

    async def send_input(self, call: Call, request: SendInputRequest) -> SendInputResponse:
        """Write to stdin or type on the terminal."""
        await self._feed(self._table.get(request.process), request.input)
        return SendInputResponse()

    async def stream_input(self, call: Call, requests: AsyncIterator[StreamInputRequest]) -> StreamInputResponse:
        """Input as it comes. The end of the stream is not the end of the process's input; the end of the process ends the stream."""

        def stop() -> None:
            call.request.body.fail(_ProcessEndedError())

        process: RunningProcess | None = None
        try:
            async for request in requests:
                match request.WhichOneof("event"):
                    case "start":
                        if process is not None:
                            process.on_end.discard(stop)
                        process = self._table.get(request.start.process)
                        process.on_end.add(stop)
                    case "data":
                        if process is None:
                            raise InvalidError("input data arrived before the start event")
                        await self._feed(process, request.data.input)
                    case "keepalive":
                        pass
                    case _:
                        raise InvalidError("invalid event type", error_code="unimplemented")
        except _ProcessEndedError:
            pass
        finally:
            if process is not None:
                process.on_end.discard(stop)
        return StreamInputResponse()

    @staticmethod
    async def _feed(process: RunningProcess, data: ProcessInput) -> None:
        match data.WhichOneof("input"):
            case "stdin":
                await process.write_stdin(data.stdin)
            case "pty":
                await process.write_terminal(data.pty)
            case _:
                raise InvalidError("invalid input type: neither stdin nor pty", error_code="unimplemented")

    async def send_signal(self, call: Call, request: SendSignalRequest) -> SendSignalResponse:
        """SIGTERM or SIGKILL to the process alone."""
        process = self._table.get(request.process)
        number = _SIGNALS.get(request.signal)
        if number is None:
            raise InvalidError(f"invalid signal: {request.signal}", error_code="unimplemented")
        process.send_signal(number)
        return SendSignalResponse()

    async def close_stdin(self, call: Call, request: CloseStdinRequest) -> CloseStdinResponse:
        """End the process's input."""
        self._table.get(request.process).close_stdin()
        return CloseStdinResponse()
