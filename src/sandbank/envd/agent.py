"""The agent's life in a fork of the zygote: serve on a given listener until the sandbox ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import uvloop

from sandbank.aiokit.tasks import TaskGroup
from sandbank.envd import certificates, rehearsal, warming
from sandbank.envd.application import Application
from sandbank.envd.config_record import ConfigRecord
from sandbank.envd.journal import JOURNAL, report
from sandbank.envd.shipping import Shipping
from sandbank.envd.state import AgentState
from sandbank.envd.transport.connection import Connection
from sandbank.envd.transport.connections import Connections

BACKLOG = 1024
# Every connection inherits these from the listener: a client that is gone without a word is noticed within two minutes.
_PROBES = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


@dataclass(frozen=True)
class AgentConfig:
    """What a sandbox is told at its start; treated like a first `/init`."""

    sandbox_id: str
    template_id: str
    access_token: str | None
    env_vars: dict[str, str]
    default_user: str
    default_workdir: str | None
    memory_limit_bytes: int
    cpu_count: int
    disk_limit_bytes: int
    ca_bundle: str | None = None


# What Python itself, the zygote and pid 1 set; `preload` sees to all others, once for all forks.
_SIGNALS_SET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


def preload() -> None:
    """Import and warm, once in the zygote, all that would otherwise be imported or read when the host's files are gone."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, *_SIGNALS_SET}:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    warming.warm()
    rehearsal.rehearse()


def run(listener: socket.socket, config: AgentConfig, record: ConfigRecord | None, on_ready: Callable[[], None]) -> None:
    """Serve on `listener`, which listens already; `on_ready` is called at once, as what is asked from then on waits in its queue.

    What an agent before this one has put into `record` counts more than `config`.

    Who must know that this agent answers asks it: the question travels while the rest is set up, and nothing is served before it is.
    Blocks until SIGTERM; children are left running then, as the sandbox's pid 1 ends them. Takes over signal handling, umask and the
    listener.
    """
    _reset_process()
    on_ready()
    # A ring cannot be part of a memory snapshot. This keeps file operations off one; the other, which batches epoll changes, libuv leaves
    # out only where io_uring_setup fails, as it does under the sandbox's system call filter.
    os.environ["UV_USE_IO_URING"] = "0"
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(_on_loop_error)
    try:
        loop.run_until_complete(_serve(listener, replace(config, **({} if record is None else record.read())), record))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _reset_process() -> None:
    """Undo what the zygote may have set: children inherit ignored signals and the mask."""
    for number in _SIGNALS_SET:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a reader that left is an error of one write
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    report("loop", context.get("exception") or RuntimeError(str(context.get("message"))))


def _trust(bundle: str | None, state: AgentState) -> None:
    try:
        if bundle is not None:
            certificates.install(bundle, state)
    except OSError as error:  # a template with something else in that place: its programs will say whom they do not trust
        report("certificates", error)


async def _serve(listener: socket.socket, config: AgentConfig, record: ConfigRecord | None) -> None:
    state = AgentState(
        sandbox_id=config.sandbox_id,
        template_id=config.template_id,
        memory_limit_bytes=config.memory_limit_bytes,
        cpu_count=config.cpu_count,
        disk_limit_bytes=config.disk_limit_bytes,
        access_token=config.access_token,
        default_user=config.default_user or "root",
        default_workdir=config.default_workdir,
        user_environment=dict(config.env_vars),
        ca_bundle=config.ca_bundle,
        record=record,
    )
    state.publish_identity()
    _trust(config.ca_bundle, state)
    application = Application(state)
    requests = TaskGroup("envd", report)
    JOURNAL.open(Shipping(JOURNAL, requests).wake)
    connections = Connections()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    application.processes.start_reaping()
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES:
        listener.setsockopt(socket.IPPROTO_TCP, option, value)
    server = await loop.create_server(lambda: Connection(application.handle, requests, report, connections), sock=listener, backlog=BACKLOG)
    try:
        await stop.wait()
    finally:
        server.close()
        connections.abort()
        await requests.close()
        application.watchers.close()
        application.processes.stop_reaping()
