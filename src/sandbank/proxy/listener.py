"""A port that speaks TLS and cleartext: a connection's first byte tells which (contract sdk-latest §2.1, §2.2)."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import cast

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.proxy.limits import ProxyLimits

_TLS_HANDSHAKE = 0x16  # RFC 8446 §5.1: a ClientHello begins with this, and no method of HTTP does
_ACCEPT_AT_ONCE = 128  # then other connections have their turn
_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS = 1.0

logger = structlog.get_logger(__name__)


class Negotiated(asyncio.Protocol):
    """Stands in until the handshake has chosen a protocol, then gives its place to what `choose` makes for it."""

    def __init__(self, choose: Callable[[str | None], asyncio.Protocol]) -> None:
        self._choose = choose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        protocol = self._choose(tls.selected_alpn_protocol())
        cast(asyncio.Transport, transport).set_protocol(protocol)
        protocol.connection_made(transport)


class DualListener:
    """Accepts clients, looks at what they say first, and hands them on. Those that have said nothing yet are `pending`.

    `tls` is asked for every connection, so that a renewed certificate counts at once. `has_room` is asked before anything is done.
    """

    def __init__(
        self,
        name: str,
        sock: socket.socket,
        *,
        tls: Callable[[], ssl.SSLContext],
        choose: Callable[[str | None], asyncio.Protocol],
        has_room: Callable[[], bool],
        limits: ProxyLimits,
    ) -> None:
        self._name = name
        self._sock = sock
        self._tls = tls
        self._choose = choose
        self._has_room = has_room
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskGroup(name, self._failed)
        self._closed = False
        self.pending = 0
        self._loop.add_reader(sock, self._accept)

    async def close(self) -> None:
        """Accept no more; connections whose protocol is not known yet are cut."""
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._sock.close()
        await self._tasks.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                # The socket stays readable, so that asking again at once would only burn time.
                logger.error("cannot accept connections", service=self._name, reason=str(error))
                self._loop.remove_reader(self._sock)
                self._loop.call_later(_PAUSE_SECONDS, self._go_on)
                return
            if not self._has_room():
                sock.close()
                continue
            sock.setblocking(False)
            self.pending += 1
            self._tasks.start("greet", self._greet(sock))

    def _go_on(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._sock, self._accept)

    async def _greet(self, sock: socket.socket) -> None:
        try:
            try:
                async with asyncio.timeout(self._limits.idle_timeout_seconds):
                    first = await self._peek(sock)
                context = self._tls() if first[0] == _TLS_HANDSHAKE else None
            except OSError as error:  # among them a timeout, and a certificate that cannot be read
                if isinstance(error, ssl.SSLError | FileNotFoundError | PermissionError):
                    logger.error("no certificate to offer", service=self._name, reason=str(error))
                sock.close()
                return
            except BaseException:
                sock.close()
                raise
            # From here the descriptor is the loop's, which closes it whatever happens.
            if context is None:
                await self._loop.connect_accepted_socket(lambda: self._choose(None), sock)
                return
            try:
                await self._loop.connect_accepted_socket(
                    lambda: Negotiated(self._choose),
                    sock,
                    ssl=context,
                    ssl_handshake_timeout=self._limits.header_timeout_seconds,
                    ssl_shutdown_timeout=self._limits.idle_timeout_seconds,  # ours is the shorter one, and looks whether anything moves
                )
            except OSError as error:
                logger.debug("TLS handshake failed", service=self._name, reason=str(error))
        finally:
            self.pending -= 1

    async def _peek(self, sock: socket.socket) -> bytes:
        """The first byte, which stays unread; `OSError` when none comes."""
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            readable: asyncio.Future[None] = self._loop.create_future()
            self._loop.add_reader(sock, _resolve, readable)
            try:
                await readable
            finally:
                self._loop.remove_reader(sock)
            first = sock.recv(1, socket.MSG_PEEK)
        if not first:
            raise ConnectionResetError(errno.ECONNRESET, "closed before it said anything")
        return first

    def _failed(self, task: str, error: BaseException) -> None:
        logger.error("task failed", service=self._name, task=task, exc_info=error)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
