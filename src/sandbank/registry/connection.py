"""HTTP to whoever an image's name, a redirect or a challenge leads to, which strangers choose: each host is looked at first."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from urllib.request import getproxies, proxy_bypass

import httpx

from sandbank.registry import failures
from sandbank.registry.limits import PullLimits
from sandbank.version import VERSION

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class Connection:
    """To one registry, for one image. An async context manager; leaving it closes all that is open."""

    def __init__(self, image: str, host: str, limits: PullLimits) -> None:
        self._image = image
        self._host = host
        self._limits = limits
        self._verify = ssl.create_default_context()
        self._clients: dict[str, httpx.AsyncClient] = {}

    @property
    def base_url(self) -> str:
        """The registry's."""
        return f"{'http' if self._limits.is_plain(self._host) else 'https'}://{self._host}"

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for client in self._clients.values():
            await client.aclose()

    @asynccontextmanager
    async def send(
        self, url: str, headers: Mapping[str, str], *, authorization: str = "", method: str = "GET", body: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        """The answer, its body unread, after redirects; `authorization` goes to the host of `url` and to no other.

        `UnavailableError` for a host that may not be asked; `httpx.TransportError` when there is no answer.
        """
        current = self._parsed(url)
        origin = _host(current)
        for _ in range(_MOST_REDIRECTS + 1):
            sent = dict(headers)
            if authorization and _host(current) == origin and current.scheme == self._parsed(url).scheme:
                sent["authorization"] = authorization
            response = await self._send_once(current, sent, method, body)
            try:
                if response.status_code not in _REDIRECTS or method != "GET":
                    yield response
                    return
                current = self._parsed(response.headers.get("location", ""), current)
            finally:
                await response.aclose()
        raise failures.unreachable(self._image, "it redirects again and again")

    async def _send_once(self, url: httpx.URL, headers: dict[str, str], method: str, body: bytes | None) -> httpx.Response:
        headers = {"user-agent": f"sandbank/{VERSION}", "accept-encoding": "identity", **headers}
        proxy = getproxies().get(url.scheme, "")
        if proxy and url.host not in _THIS_MACHINE and not proxy_bypass(url.host):
            self._check_literal(url)
            client = self._client(url, proxy)
            return await client.send(client.build_request(method, url, headers=headers, content=body), stream=True)
        client = self._client(url, "")
        error: httpx.TransportError = httpx.ConnectError("its name has no address")
        for address in await self._addresses(url):
            # By the address that was looked at: a second look at the name might find another.
            pinned = url.copy_with(host=address)
            extensions = {"sni_hostname": url.host}
            headers["host"] = url.netloc.decode("ascii").rpartition("@")[2]
            request = client.build_request(method, pinned, headers=headers, content=body, extensions=extensions)
            try:
                return await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as failed:
                error = failed
        raise error

    def _client(self, url: httpx.URL, proxy: str) -> httpx.AsyncClient:
        """One for each host: connections are kept by address, and two hosts with one address must not share what was verified for one."""
        client = self._clients.get(_host(url))
        if client is None:
            timeout = httpx.Timeout(self._limits.stall_seconds, connect=min(10.0, self._limits.stall_seconds), pool=None)
            client = httpx.AsyncClient(timeout=timeout, verify=self._verify, trust_env=False, follow_redirects=False, proxy=proxy or None)
            self._clients[_host(url)] = client
        return client

    async def _addresses(self, url: httpx.URL) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port or 443, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpx.ConnectError(f"the name {url.host} cannot be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            self._check_address(url, address)
        return addresses

    def _check_literal(self, url: httpx.URL) -> None:
        try:
            ipaddress.ip_address(url.host)
        except ValueError:
            return  # the proxy looks names up, and knows what it may reach
        self._check_address(url, url.host)

    def _check_address(self, url: httpx.URL, address: str) -> None:
        parsed = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        if (not mapped.is_global or mapped.is_multicast) and not self._may(url, self._limits.is_trusted(_host(url))):
            raise failures.unreachable(
                self._image, f"{_host(url)} has an address of a private network, and is not among SANDBANK_TEMPLATE_TRUSTED_REGISTRIES"
            )

    def _may(self, url: httpx.URL, is_named: bool) -> bool:
        """What the operator has named is there for who names it, too: a stranger's registry leads nobody to it."""
        return is_named and (_host(url) == self._host or self._limits.is_trusted(self._host))

    def _parsed(self, text: str, base: httpx.URL | None = None) -> httpx.URL:
        try:
            url = base.join(text) if base is not None else httpx.URL(text)
        except (httpx.InvalidURL, ValueError) as error:
            raise failures.unreachable(self._image, "it redirects to what is no URL") from error
        is_plain = url.scheme == "http" and self._may(url, self._limits.is_plain(_host(url)))
        if not url.host or url.userinfo or not (url.scheme == "https" or is_plain):
            shown = f"{url.scheme}://{url.host}"[:200] if url.scheme else "nowhere"
            raise failures.unreachable(self._image, f"it leads to {shown}, which is not HTTPS")
        return url


def _host(url: httpx.URL) -> str:
    """`host[:port]` as references have it: the scheme's own port is left out."""
    return url.netloc.decode("ascii").rpartition("@")[2]
