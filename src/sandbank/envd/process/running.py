"""One child from its start until its last output is delivered."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from sandbank.contracts.process import ProcessConfig, ProcessEvent
from sandbank.domain.errors import DeadlineError, InternalError, InvalidError
from sandbank.envd.process.spawn import Child, set_window
from sandbank.envd.process.status import end_event
from sandbank.envd.process.subscription import Output, Subscription

PIPE_CHUNK_BYTES = 32 * 1024
TERMINAL_CHUNK_BYTES = 16 * 1024
_LAST_BYTES = 1024 * 1024  # what is still read of a killed process's output: more than a pipe holds


class RunningProcess:
    """Pumps output to subscriptions and input to the child.

    A full subscription stops the reading of both outputs, so the child feels it through its pipes. `remove` is called once, before
    any subscription sees the end: whoever lists processes after that end must not find it.
    """

    def __init__(self, child: Child, config: ProcessConfig, tag: str | None, remove: Callable[[RunningProcess], None]) -> None:
        self.pid = child.pid
        self.config = config
        self.tag = tag
        self.end: ProcessEvent.EndEvent | None = None
        self.bytes = {**dict.fromkeys(child.outputs, 0), "stdin": 0}
        """How much went through each stream so far; what is typed on a terminal counts as stdin."""

        self._terminal = child.terminal
        self._stdin = child.stdin
        self._outputs = dict(child.outputs)
        self._remove = remove
        self.on_end: set[Callable[[], None]] = set()
        """Called once when it has ended."""

        self._subscriptions: set[Subscription] = set()
        self._wait_status: int | None = None
        self._cut_short = False
        self._paused = True
        self._deadline: asyncio.TimerHandle | None = None
        self._input_lock = asyncio.Lock()
        self._input_ready: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    # -- output

    def subscribe(self) -> Subscription:
        """A reader of everything from now on."""
        subscription = Subscription(self._balance)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a reader; without any, output is dropped."""
        self._subscriptions.discard(subscription)
        self._balance()

    def start_pumping(self) -> None:
        """Begin to read the child's output."""
        self._balance()

    def _balance(self) -> None:
        """Read while nobody is too far behind."""
        full = any(subscription.is_full for subscription in self._subscriptions)
        if full == self._paused:
            return
        self._paused = full
        for stream, descriptor in self._outputs.items():
            if full:
                self._loop.remove_reader(descriptor)
            else:
                self._loop.add_reader(descriptor, self._pump, stream, descriptor)

    def _pump(self, stream: str, descriptor: int) -> None:
        if self._read(stream, descriptor):
            self._balance()
        else:
            self._close_output(stream)
            self._finish_if_done()

    def _read(self, stream: str, descriptor: int) -> int:
        """Deliver one piece; 0 at the end of the stream, -1 when there is nothing yet."""
        try:
            data = os.read(descriptor, TERMINAL_CHUNK_BYTES if stream == "pty" else PIPE_CHUNK_BYTES)
        except BlockingIOError:
            return -1
        except OSError:  # EIO: the last process left the terminal
            return 0
        if data:
            self.bytes[stream] += len(data)
            for subscription in self._subscriptions:
                subscription.put(Output(stream, data))
        return len(data)

    def _close_output(self, stream: str) -> None:
        descriptor = self._outputs.pop(stream, None)
        if descriptor is not None:
            if not self._paused:
                self._loop.remove_reader(descriptor)
            if descriptor != self._terminal:
                os.close(descriptor)

    # -- the end

    def reaped(self, wait_status: int) -> None:
        """The kernel's last word on the child."""
        self._wait_status = wait_status
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self._wait_status is None or self.end is not None or (self._outputs and not self._cut_short):
            return
        for stream, descriptor in list(self._outputs.items()):  # killed: take what is there and wait for no grandchild
            total = 0
            while total < _LAST_BYTES and (size := self._read(stream, descriptor)) > 0:
                total += size
            self._close_output(stream)
        self.close_input()
        if self._terminal is not None:
            self._wake_input()
            os.close(self._terminal)
            self._terminal = None
        if self._deadline is not None:
            self._deadline.cancel()
        self.end = end_event(self._wait_status)
        self._remove(self)
        for callback in list(self.on_end):
            callback()
        for subscription in self._subscriptions:
            subscription.put(self.end)

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the child alone, not its group; its end no longer waits for others that hold its pipes."""
        if self._wait_status is not None:
            if self.end is not None:
                raise InternalError("os: process already finished")
        else:
            os.kill(self.pid, number)
        self._cut_short = True
        self._finish_if_done()

    def kill_at(self, deadline: float, starter: Subscription) -> None:
        """SIGKILL at `deadline` (loop time), even if nobody listens then; a child that is gone no longer waits for who holds its pipes.

        `starter`, which the deadline is of, is told that its time is up before it can hear that the child was killed.
        """
        self._deadline = self._loop.call_at(deadline, self._expire, starter)

    def _expire(self, starter: Subscription) -> None:
        if self.end is None:
            starter.fail(DeadlineError("context deadline exceeded"))
            self.send_signal(signal.SIGKILL)

    # -- input

    async def write_stdin(self, data: bytes) -> None:
        """Write everything, waiting while the child is slow; `InternalError` when there is no open stdin."""
        if self._terminal is not None:
            raise InternalError("error writing to stdin: tty assigned to process, use pty input instead")
        await self._write("stdin", data, lambda: self._stdin)

    async def write_terminal(self, data: bytes) -> None:
        """Type `data` on the terminal."""
        if self._terminal is None:
            raise InternalError("error writing to tty: tty not assigned to process")
        await self._write("tty", data, lambda: self._terminal)

    async def _write(self, what: str, data: bytes, target: Callable[[], int | None]) -> None:
        view = memoryview(data)
        async with self._input_lock:
            while True:
                descriptor = target()
                if descriptor is None:
                    reason = "stdin not enabled or closed" if what == "stdin" else "tty closed"
                    raise InternalError(f"error writing to {what}: {reason}")
                if not view:
                    return
                try:
                    count = os.write(descriptor, view)
                    self.bytes["stdin"] += count
                    view = view[count:]
                except BlockingIOError:
                    await self._input_possible(descriptor)
                except OSError as error:
                    raise InternalError(f"error writing to {what}: {error.strerror}") from error

    async def _input_possible(self, descriptor: int) -> None:
        self._input_ready = self._loop.create_future()
        # A terminal is read through the same descriptor; a copy keeps the two registrations apart.
        copy = os.dup(descriptor)
        self._loop.add_writer(copy, self._wake_input)
        try:
            await self._input_ready
        finally:
            self._loop.remove_writer(copy)
            os.close(copy)
            self._input_ready = None

    def _wake_input(self) -> None:
        if self._input_ready is not None and not self._input_ready.done():
            self._input_ready.set_result(None)

    def close_stdin(self) -> None:
        """End of input for the child; closing twice is fine, a terminal has no such end."""
        if self._terminal is not None:
            raise InvalidError("cannot close stdin of a process with a tty: send Ctrl+D (0x04) instead", error_code="unknown")
        self.close_input()

    def close_input(self) -> None:
        """Close our end of stdin; a write that waits fails."""
        if self._stdin is not None:
            descriptor, self._stdin = self._stdin, None
            self._wake_input()
            os.close(descriptor)

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size."""
        if self._terminal is None:
            raise InternalError("error resizing tty: tty not assigned to process")
        try:
            set_window(self._terminal, columns, rows)
        except OSError as error:
            raise InternalError(f"error resizing tty: {error.strerror}") from error
