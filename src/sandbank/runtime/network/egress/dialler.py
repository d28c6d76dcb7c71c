"""Connections of the node on behalf of sandboxes: never farther than those could go themselves."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from ipaddress import IPv4Network

from sandbank.runtime.driver import EgressProxy
from sandbank.runtime.network.egress import socks
from sandbank.runtime.network.egress.flow import Flow
from sandbank.runtime.network.egress.lookup import Lookup
from sandbank.runtime.network.egress.tunnel import Tunnels
from sandbank.runtime.network.egress.verdict import AddressSet

_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: the port is chosen with the destination, so that there are enough of them
_ATTEMPTS = 3


class Dialler:
    """Dials from `source`, the one address for which the firewall refuses private ranges and the node itself: whatever happens between
    a look at an address here and the packet, the kernel judges the packet.
    """

    def __init__(self, source: str, never: Iterable[IPv4Network], lookup: Lookup, tunnels: Tunnels, seconds: float) -> None:
        self._source = source
        self._never = AddressSet(never)
        self._lookup = lookup
        self._tunnels = tunnels
        self._seconds = seconds

    async def open(self, flow: Flow) -> socket.socket:
        """A non-blocking socket to where `flow` may go. `OSError` when that cannot be reached, or must not."""
        proxy = flow.policy.proxy
        try:
            async with asyncio.timeout(self._seconds):
                if proxy is not None:
                    return await self._tunnelled(flow, proxy)
                if flow.by_name and flow.name is not None:
                    return await self._named(flow.name, flow.port)
                return await self._connected(flow.address, flow.port)
        except TimeoutError as error:
            raise OSError("the destination took too long") from error

    async def _tunnelled(self, flow: Flow, proxy: EgressProxy) -> socket.socket:
        sock = await (self._connected if _is_address(proxy.host) else self._named)(proxy.host, proxy.port)
        try:
            if proxy.tls is not None:
                sock = await self._tunnels.wrap(sock, proxy.host, proxy.tls)
            by_name = flow.by_name and flow.name is not None
            destination = flow.name if by_name and flow.name is not None else flow.address
            await socks.request(sock, destination, flow.port, proxy.username, proxy.password, by_name=by_name)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _named(self, name: str, port: int) -> socket.socket:
        public = [address for address in await self._lookup.addresses(name) if address not in self._never]
        error = OSError(f"{name} has no public address")
        for address in public[:_ATTEMPTS]:
            try:
                return await self._connected(address, port)
            except OSError as failure:
                error = failure
        raise error

    async def _connected(self, address: str, port: int) -> socket.socket:
        if address in self._never:
            raise OSError(f"{address} is no public address")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.bind((self._source, 0))
            await _connect(sock, address, port)
        except BaseException:
            sock.close()
            raise
        return sock


async def _connect(sock: socket.socket, address: str, port: int) -> None:
    """The loop's own connect looks even an address up, in a thread."""
    error = sock.connect_ex((address, port))
    if error == errno.EINPROGRESS:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(sock, _wake, ready)
        try:
            await ready
        finally:
            loop.remove_writer(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _is_address(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True
