"""Runs inside a sandbox: `reach.py <tcp|udp> <port> <address>...` prints which addresses answer, asking all of them at once."""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

PATIENCE_SECONDS = 3.0


def answers(kind: str, address: str, port: int) -> bool:
    """Whether a connection succeeds (TCP) or a datagram is answered (UDP)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as probe:
        probe.settimeout(PATIENCE_SECONDS)
        try:
            probe.connect((address, port))
            if kind == "udp":
                probe.send(b"ping")
                probe.recv(10)
        except OSError:
            return False
        return True


if __name__ == "__main__":
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda address: answers(sys.argv[1], address, int(sys.argv[2])), sys.argv[3:]))
    print(*(address for address, reached in zip(sys.argv[3:], found, strict=True) if reached))
