"""Nodes behind one name: every address that it has is a node."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from sandbank.domain.errors import UnavailableError

_SECONDS = 5.0


class DnsNodes:
    """A and AAAA records of `name`, as the system's resolver answers; `port` is every node's gRPC."""

    name = "dns"

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def list(self) -> Sequence[str]:
        """Sorted. A name that does not exist is an error, too: nobody removes all nodes by that."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_SECONDS):
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise UnavailableError(f"{self._host} was not resolved within {_SECONDS:g} seconds") from None
        except OSError as error:
            raise UnavailableError(f"{self._host} cannot be resolved: {error.strerror}") from error
        hosts = {str(entry[4][0]) for entry in found}
        return sorted(f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}" for host in hosts)

    async def close(self) -> None:
        """Nothing is open."""
