"""Ending a connection so that the peer cannot mistake it for an orderly end (contract data-plane §6.3)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

_LINGER_ZERO = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Close at once with a TCP reset, dropping whatever was not sent yet."""
    if (sock := transport.get_extra_info("socket")) is not None:
        # Without a linger time of zero the kernel would send a FIN, which ends a body of unknown length correctly.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()
