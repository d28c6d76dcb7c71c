"""SOCKS5 as a client (RFC 1928), with user name and password (RFC 1929)."""

from __future__ import annotations

import asyncio
import socket

_VERSION, _NO_AUTHENTICATION, _PASSWORD, _CONNECT = 5, 0, 2, 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_REPLIES = {
    1: "general failure",
    2: "not allowed",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "too far away",
    7: "command not supported",
    8: "address type not supported",
}


class SocksError(OSError):
    """The proxy refused or does not speak SOCKS5. The text never has credentials in it."""


async def request(sock: socket.socket, destination: str, port: int, username: str | None, password: str | None, *, by_name: bool) -> None:
    """Ask the proxy behind `sock`, connected and non-blocking, for a connection; when it returns the stream is the destination's.

    `by_name`: the proxy resolves `destination`. `SocksError` when it refuses. Not a byte beyond its answer is taken.
    """
    methods = bytes([_NO_AUTHENTICATION] if username is None else [_NO_AUTHENTICATION, _PASSWORD])
    await _send(sock, bytes([_VERSION, len(methods)]) + methods)
    version, method = await _receive(sock, 2)
    if version != _VERSION or method not in methods:
        raise SocksError("the egress proxy speaks no SOCKS5, or wants another authentication")
    if method == _PASSWORD:
        name, secret = (username or "").encode(), (password or "").encode()
        await _send(sock, bytes([1, len(name)]) + name + bytes([len(secret)]) + secret)
        if (await _receive(sock, 2))[1] != 0:
            raise SocksError("the egress proxy refused the credentials")
    if by_name:
        encoded = destination.encode("ascii")
        address = bytes([_NAME, len(encoded)]) + encoded
    else:
        address = bytes([_IPV4]) + socket.inet_aton(destination)
    await _send(sock, bytes([_VERSION, _CONNECT, 0]) + address + port.to_bytes(2, "big"))
    version, reply, _, kind = await _receive(sock, 4)
    if version != _VERSION or reply != 0:
        raise SocksError(f"the egress proxy did not connect: {_REPLIES.get(reply, 'unknown reply')}")
    lengths = {_IPV4: 4, _IPV6: 16}
    length = (await _receive(sock, 1))[0] if kind == _NAME else lengths.get(kind)
    if length is None:
        raise SocksError("the egress proxy answered with an unknown kind of address")
    await _receive(sock, length + 2)


async def _send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def _receive(sock: socket.socket, count: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < count:
        piece = await loop.sock_recv(sock, count - len(data))
        if not piece:
            raise SocksError("the egress proxy closed the connection")
        data += piece
    return data
