"""Listening sockets, and one clear line when a port is taken."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

from sandbank.domain.errors import SandbankError, UnavailableError

_LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp, include/net/tcp_states.h


def listen(host: str, port: int, what: str, backlog: int = 4096) -> socket.socket:
    """A non-blocking listening TCP socket at `host:port`; `what` is who wants it, for the error.

    `UnavailableError` names address, port and, where `/proc` shows it, the process that holds the port. The caller owns the socket.
    """
    # asyncio switches Nagle's algorithm off only for what is said to be TCP; with it, each answer in two pieces takes 40 ms.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # or a restart waits for TIME_WAIT
        listener.setblocking(False)
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise _explained(error, host, port, what) from error
    return listener


def require_free(host: str, port: int, what: str) -> None:
    """Raise what `listen` would, for servers that insist on binding for themselves."""
    listen(host, port, what, backlog=1).close()


def _explained(error: OSError, host: str, port: int, what: str) -> SandbankError:
    where = f"{what} cannot listen on {host} port {port}"
    if error.errno == errno.EADDRINUSE:
        occupant = find_occupant(port)
        return UnavailableError(f"{where}: {occupant or 'another process'} has it")
    if error.errno == errno.EADDRNOTAVAIL:
        return UnavailableError(f"{where}: this machine does not have that address")
    if error.errno == errno.EACCES:
        return UnavailableError(f"{where}: not permitted (ports below 1024 need root)")
    return UnavailableError(f"{where}: {os.strerror(error.errno or 0)}")


def find_occupant(port: int) -> str | None:
    """`name (pid 123)` of a process listening on TCP `port`, or None where it cannot be seen (other user, other namespace)."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):  # it ended meanwhile, or is not ours to look into
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) in inodes:
                        return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    return inodes
