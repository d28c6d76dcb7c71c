"""Listening inside a sandbox's network, for what the sandbox has to tell the node."""

from __future__ import annotations

import os
import socket

from sandbank.runtime.linux.libc import CLONE_NEWNET, setns
from sandbank.runtime.network.dial import own_namespace

_BACKLOG = 2
# For each connection, accepted or waiting: node memory that those inside can fill.
_BUFFER_BYTES = 64 * 1024


def listen(netns_fd: int, port: int) -> socket.socket:
    """A non-blocking TCP socket that listens on 127.0.0.1 in the network namespace behind `netns_fd`.

    Who connects is in that namespace, whatever it says. `OSError` when the port is taken or the namespace cannot be entered. A thread
    that cannot return to its own namespace aborts the process, as in `dial`.
    """
    own = own_namespace()
    setns(netns_fd, CLONE_NEWNET)
    try:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    finally:
        try:
            setns(own, CLONE_NEWNET)
        except BaseException:  # noqa: BLE001  # see dial
            os.abort()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier orchestrator may linger
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
