"""The zygote's loop: take a request, fork, forget it. One thread, nothing held between requests."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable

from sandbank.envd import agent
from sandbank.runtime.drivers.namespaces import spawn_request
from sandbank.runtime.linux import privileges, title
from sandbank.zygote import heap, namespaces, spawn

_MAX_DATAGRAM = 4096
_MAX_DESCRIPTORS = 8


def serve(descriptor: int, heap_path: str) -> None:
    """Answer requests until the other end of `descriptor`, a SOCK_SEQPACKET socket, is closed. `heap_path` is for a file of its own.

    Everything that a sandbox will need has been imported when the first request is taken: after its pivot the node's files are gone.
    """
    control = socket.socket(fileno=descriptor)
    privileges.become_subreaper()
    title.set_name(spawn_request.ZYGOTE_NAME)
    agent.preload()
    spawn.preload()
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    # Keeps the collector from touching, and so copying, pages that every sandbox shares.
    gc.collect()
    gc.freeze()
    try:
        heap.move_into(heap_path)
    except OSError as error:  # sandboxes will do without, at the price of larger snapshots
        sys.stderr.write(f"zygote: its memory is not in a file: {error}\n")
    control.send(b"ready")
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while True:
        ready = {number for number, _event in poll.poll()}
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            _reap()
        if control.fileno() in ready and not _take(control):
            return


def _take(control: socket.socket) -> bool:
    data, descriptors, _flags, _address = socket.recv_fds(control, _MAX_DATAGRAM, _MAX_DESCRIPTORS)
    if not data:
        return False
    try:
        operation, _, text = data.decode(errors="replace").partition(" ")
        if operation == spawn_request.MAKE_NAMESPACES and len(descriptors) == 1:
            _fork(control, lambda: namespaces.make(int(text), descriptors[0]))
        elif operation == spawn_request.PREPARE and len(descriptors) == 1:
            _fork(control, lambda: spawn.wait(descriptors[0]))
        else:
            sys.stderr.write(f"zygote: not a request: {operation[:40]!r} with {len(descriptors)} descriptors\n")
    except OSError as error:  # no memory or process numbers left: the caller sees its descriptor close without an answer
        sys.stderr.write(f"zygote: fork: {error}\n")
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return True


def _fork(control: socket.socket, child: Callable[[], None]) -> None:
    if os.fork():
        return
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        child()
    except BaseException as error:  # noqa: BLE001  # the last line of a child: nothing may unwind into the zygote's loop
        sys.stderr.write(f"zygote child: {error!r}\n")
    finally:
        os._exit(1)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
