"""All processes that clients started."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass

from sandbank.contracts.process import ProcessConfig, ProcessEvent, ProcessSelector
from sandbank.domain.errors import InvalidError, NotFoundError
from sandbank.envd.process.running import RunningProcess
from sandbank.envd.process.spawn import Command, spawn

RETAIN_SECONDS = 30.0  # how long a finished process can still be connected to (data-plane contract §2.8)


@dataclass(frozen=True)
class Finished:
    """The last word of a process that is gone."""

    pid: int
    tag: str | None
    end: ProcessEvent.EndEvent


class ProcessTable:
    """Starts, finds and reaps. Children of this process are all started here, so every exit is one of ours."""

    def __init__(self) -> None:
        # In order of start. Two may share a pid: the older has been reaped and only waits for its output to end.
        self._running: dict[RunningProcess, None] = {}
        self._by_pid: dict[int, RunningProcess] = {}
        self._finished_by_pid: dict[int, Finished] = {}
        self._finished_by_tag: dict[str, Finished] = {}

    def start_reaping(self) -> None:
        """Collect exits as they happen: a killed child is gone at once, not a zombie until someone asks."""
        loop = asyncio.get_running_loop()
        # Not by the loop's own handlers: uvloop keeps this signal to itself. A handler of the interpreter's wakes the loop just as well.
        signal.signal(signal.SIGCHLD, lambda number, frame: loop.call_soon_threadsafe(self.reap))

    def stop_reaping(self) -> None:
        """Undo `start_reaping`."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def start(self, command: Command, config: ProcessConfig, tag: str | None) -> RunningProcess:
        """Spawn `command`; `config` is what the caller asked for and `list` shows. Pumping begins with `start_pumping`."""
        process = RunningProcess(spawn(command), config, tag, self._ended)
        self._running[process] = None
        self._by_pid[process.pid] = process
        if (same_pid := self._finished_by_pid.get(process.pid)) is not None:
            self._forget(same_pid)
        if tag is not None and (same_tag := self._finished_by_tag.get(tag)) is not None:
            self._forget(same_tag)
        return process

    def list_processes(self) -> list[RunningProcess]:
        """Every process whose end nobody was told yet."""
        return list(self._running)

    def reap(self) -> None:
        """Collect every child that has exited."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (process := self._by_pid.get(pid)) is not None:
                process.reaped(status)

    def find(self, selector: ProcessSelector) -> RunningProcess | None:
        """The running process of this pid or tag."""
        kind = selector.WhichOneof("selector")
        if kind is None:
            raise InvalidError("invalid input type: no process selector", error_code="unimplemented")
        if kind == "pid":
            return self._by_pid.get(selector.pid)
        return next((process for process in reversed(self._running) if process.tag == selector.tag), None)

    def get(self, selector: ProcessSelector) -> RunningProcess:
        """As `find`; `NotFoundError` when there is none."""
        process = self.find(selector)
        if process is None:
            raise NotFoundError(self._missing(selector))
        return process

    def get_finished(self, selector: ProcessSelector) -> Finished:
        """A process that ended a moment ago; `NotFoundError` when there is none."""
        if selector.WhichOneof("selector") == "pid":
            finished = self._finished_by_pid.get(selector.pid)
        else:
            finished = self._finished_by_tag.get(selector.tag)
        if finished is None:
            raise NotFoundError(self._missing(selector))
        return finished

    @staticmethod
    def _missing(selector: ProcessSelector) -> str:
        if selector.WhichOneof("selector") == "tag":
            return f"process with tag {selector.tag} not found"
        return f"process with pid {selector.pid} not found"

    def _ended(self, process: RunningProcess) -> None:
        del self._running[process]
        if self._by_pid.get(process.pid) is not process:
            return  # the pid has a new owner, whose end is the one to retain
        del self._by_pid[process.pid]
        assert process.end is not None
        finished = Finished(process.pid, process.tag, process.end)
        self._finished_by_pid[process.pid] = finished
        if process.tag is not None:
            self._finished_by_tag[process.tag] = finished
        asyncio.get_running_loop().call_later(RETAIN_SECONDS, self._forget, finished)

    def _forget(self, finished: Finished) -> None:
        if self._finished_by_pid.get(finished.pid) is finished:
            del self._finished_by_pid[finished.pid]
        if finished.tag is not None and self._finished_by_tag.get(finished.tag) is finished:
            del self._finished_by_tag[finished.tag]
