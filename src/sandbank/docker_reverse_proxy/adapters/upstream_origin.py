"""Connections to the upstream registry."""

from __future__ import annotations

import asyncio
import socket

from sandbank.docker_reverse_proxy.core.registry_url import RegistryUrl
from sandbank.domain.errors import UnavailableError
from sandbank.proxy.address import connect_to
from sandbank.proxy.origin import Origin, OriginPolicy

# Registries keep idle connections for a minute and more. What has a body gets a connection of its own: it cannot be sent twice.
_POLICY = OriginPolicy(
    retry_pauses_seconds=(0.1, 0.5),
    hot_requests_per_second=0,
    idle_seconds=20.0,
    reuse_for_any_method=False,
    max_idle=64,
    max_requests=10_000,
)
_FRESH_SECONDS = 30.0


class UpstreamOrigin:
    """Looks the name up again now and then; an attempt to connect takes the next address after one that failed."""

    def __init__(self, url: RegistryUrl) -> None:
        self._url = url
        self._addresses: list[str] = []
        self._next = 0
        self._looked_up_at = float("-inf")
        name = url.host if url.scheme == "https" else None
        self.origin = Origin(self._dial, _POLICY, speaks_tls=name is not None, server_name=name)

    async def prepare(self) -> Origin:
        """The origin, with addresses that are not older than half a minute. `UnavailableError` when the name cannot be found."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._looked_up_at > _FRESH_SECONDS:
            try:
                found = await loop.getaddrinfo(self._url.host, self._url.port, type=socket.SOCK_STREAM)
            except OSError as error:
                if not self._addresses:
                    raise UnavailableError(f"{self._url.host} cannot be looked up: {error.strerror}") from error
            else:
                found.sort(key=lambda entry: entry[0] != socket.AF_INET)
                self._addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
                self._looked_up_at = loop.time()
        return self.origin

    def _dial(self) -> socket.socket:
        address = self._addresses[self._next % len(self._addresses)]
        self._next += 1
        return connect_to(address, self._url.port)
