"""Whether a peer still takes what it was sent: the only clock that is fair to slow clients."""

from __future__ import annotations

import asyncio
import socket
import struct

_BYTES_ACKED = struct.Struct("=120xQ")  # tcpi_bytes_acked in struct tcp_info, linux/tcp.h


def acknowledged_bytes(transport: asyncio.Transport) -> int:
    """How many bytes the peer's kernel has confirmed since the connection began; -1 when that cannot be known any more."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None:
        return -1
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    except OSError:
        return -1
    count: int = _BYTES_ACKED.unpack(info)[0]
    return count
