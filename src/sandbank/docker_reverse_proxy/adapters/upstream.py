"""The registry behind: where it is, and how it wants to be asked."""

from __future__ import annotations

from sandbank.docker_reverse_proxy.adapters.upstream_origin import UpstreamOrigin
from sandbank.docker_reverse_proxy.adapters.upstream_tokens import RegistryTokens
from sandbank.docker_reverse_proxy.core.registry_url import RegistryUrl
from sandbank.proxy.origin import Origin


class UpstreamRegistry:
    """Connections and credentials for one registry. `close` when done."""

    def __init__(self, url: RegistryUrl, username: str, password: str) -> None:
        self.host = url.host
        self.authority = url.authority
        self._origin = UpstreamOrigin(url)
        self._tokens = RegistryTokens(url, username, password)

    async def prepare(self, template_id: str) -> int | None:
        """See `UpstreamTokens`."""
        return await self._tokens.prepare(template_id)

    async def origin(self) -> Origin:
        """See `Upstream`."""
        return await self._origin.prepare()

    async def authorization(self, template_id: str) -> str | None:
        """See `Upstream`."""
        return await self._tokens.authorization(template_id)

    def forget(self, template_id: str) -> None:
        """See `Upstream`."""
        self._tokens.forget(template_id)

    def sweep(self, now: float) -> None:
        """See `Upstream`."""
        self._origin.origin.sweep(now)

    async def close(self) -> None:
        """End all connections."""
        self._origin.origin.cut()
        await self._tokens.close()
