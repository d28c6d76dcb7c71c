"""pid 1 of a sandbox: starts the agent, starts it again should it die, and reaps whatever is orphaned. When it ends, all of it ends."""

from __future__ import annotations

import os
import signal
import socket
import time

from sandbank.envd import agent
from sandbank.envd.config_record import ConfigRecord
from sandbank.runtime.drivers.namespaces.spawn_request import INIT_NAME
from sandbank.runtime.linux.title import set_title

# An agent that dies at once, again and again, shall not spin.
_RESTART_PAUSE_SECONDS = 0.2


def run(listener: socket.socket, agent_fields: dict[str, object], report_fd: int, title_area: tuple[int, int]) -> None:
    """Never returns. `report_fd` gets `ready` from the first agent that is, and is closed with it.

    The listener stays here as well: connections made while the agent starts again wait in its queue instead of being refused.
    """
    set_title(INIT_NAME, title_area)
    config = agent.AgentConfig(**agent_fields)  # type: ignore[arg-type]  # as the driver encoded it
    record = ConfigRecord()  # the agent's to read and to write: nothing here depends on what is in it
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # from inside, nobody ends a sandbox by accident
    while True:
        try:
            pid = _start_agent(listener, config, record, report_fd, title_area)
        except (OSError, MemoryError):  # no process or memory left, which may pass: what runs here shall not end because of it
            pid = 0
        if report_fd >= 0:
            os.close(report_fd)
            report_fd = -1
        _reap_until(pid)
        time.sleep(_RESTART_PAUSE_SECONDS)


def _start_agent(
    listener: socket.socket, config: agent.AgentConfig, record: ConfigRecord, report_fd: int, title_area: tuple[int, int]
) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        set_title("envd", title_area)

        def ready() -> None:
            if report_fd >= 0:
                os.write(report_fd, b"ready\n")
                os.close(report_fd)

        agent.run(listener, config, record, ready)
    finally:
        os._exit(1)


def _reap_until(agent_pid: int) -> None:
    """Return once the agent has ended; without one, when nobody else has for the moment."""
    while True:
        try:
            pid, _status = os.waitpid(-1, 0 if agent_pid else os.WNOHANG)
        except ChildProcessError:
            return
        if pid == agent_pid:
            return
