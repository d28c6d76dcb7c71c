"""Finding peers that vanished without a word."""

from __future__ import annotations

import socket

_SECONDS = 20  # contract data-plane §7.3
_PROBES = 3


def watch(sock: socket.socket) -> None:
    """Probe the peer of a quiet connection; about a minute after it vanished the connection ends with an error."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
