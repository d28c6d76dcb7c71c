"""From a socket that may still be connecting to a connection that belongs to its origin."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
import ssl
from typing import TypeVar

from sandbank.domain.errors import NotFoundError, SandbankError
from sandbank.proxy.keepalive import watch
from sandbank.proxy.origin import Origin
from sandbank.proxy.upstream import UpstreamConnection

C = TypeVar("C", bound=UpstreamConnection)


class OriginClosedError(Exception):
    """The origin was cut while it was being dialled."""


async def _connected(sock: socket.socket) -> None:
    """Return when the handshake is done; `OSError` when it failed. Over loopback it mostly is when `connect` returns."""
    loop = asyncio.get_running_loop()
    if (error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) != 0:
        raise OSError(error, os.strerror(error))
    try:
        sock.getpeername()
    except OSError as missing:
        if missing.errno != errno.ENOTCONN:
            raise
    else:
        return
    writable: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not writable.done():
            writable.set_result(None)

    loop.add_writer(sock, ready)
    try:
        await writable
    finally:
        loop.remove_writer(sock)
    if (error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) != 0:
        raise OSError(error, os.strerror(error))


async def _attempt(origin: Origin, timeout_seconds: float, kind: type[C]) -> C:
    try:
        sock = origin.dial()
    except NotFoundError as error:
        raise OriginClosedError from error
    except SandbankError as error:
        raise ConnectionRefusedError(error.message) from error
    try:
        async with asyncio.timeout(timeout_seconds):
            await _connected(sock)
        watch(sock)
    except BaseException:
        sock.close()
        raise
    try:
        async with asyncio.timeout(timeout_seconds):
            connection = await _open(origin, sock, kind)
    except BaseException:
        sock.detach()  # the loop has closed the descriptor; closing it again could hit the next one of that number
        raise
    if connection.closed:
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    if not origin.adopt(connection):
        connection.cut()
        raise OriginClosedError
    return connection


async def _open(origin: Origin, sock: socket.socket, kind: type[C]) -> C:
    def made() -> C:
        return kind(origin)

    loop = asyncio.get_running_loop()
    if origin.speaks_tls and origin.server_name is not None:
        context = _verified_tls(kind.alpn)
        _, connection = await loop.create_connection(made, sock=sock, ssl=context, server_hostname=origin.server_name)
    elif origin.speaks_tls:
        # The name that a program beside the service would use, for services that choose their certificate by it.
        _, connection = await loop.create_connection(made, sock=sock, ssl=_tls(kind.alpn), server_hostname="localhost")
    else:
        _, connection = await loop.create_connection(made, sock=sock)
    return connection


@functools.cache
def _tls(alpn: str) -> ssl.SSLContext:
    """Encrypted and unverified: the peer is known by its address inside the sandbox, whatever certificate it has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    # Small servers end answers of unknown length without a word of TLS; over this path nobody else can cut them short.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


@functools.cache
def _verified_tls(alpn: str) -> ssl.SSLContext:
    """For services out in the network: by the machine's trusted authorities."""
    context = ssl.create_default_context()
    context.set_alpn_protocols([alpn])
    return context


async def connect(origin: Origin, timeout_seconds: float, kind: type[C]) -> C:
    """A new connection to `origin` of this `kind`, tried as often as its policy says.

    `OSError` (a timeout is one) when every attempt failed, `OriginClosedError` when there is no such origin any more. Cancelled: no socket
    is left.
    """
    for pause_seconds in (*origin.policy.retry_pauses_seconds, None):
        if origin.closed:
            raise OriginClosedError
        try:
            return await _attempt(origin, timeout_seconds, kind)
        except OSError:
            if pause_seconds is None:
                raise
            await asyncio.sleep(pause_seconds)
    raise AssertionError("unreachable: the last attempt returns or raises")
