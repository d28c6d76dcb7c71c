"""The internet in one process: web servers, a service of no known kind, and SOCKS5 proxies, on several public addresses.

`python -m tests.integration.network.origin <network namespace> <directory with cert.pem>`; it writes a line to `log` in that
directory for everything that a SOCKS5 proxy is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, TypeAlias

from sandbank.runtime.linux.libc import CLONE_NEWNET, setns

SITE, OTHER_SITE, SOCKS, SECURE_SITE = "198.51.100.7", "198.51.100.8", "198.51.100.9", "198.51.100.10"
PLAIN_PORT, SOCKS_PORT, SOCKS_TLS_PORT = 7007, 1080, 1443
USER, PASSWORD = b"me", b"very secret"
Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter


async def web(reader: Reader, writer: Writer) -> None:
    """Tells which address was asked, for which host and with which headers; after a WebSocket upgrade one of those, then what comes."""
    address = writer.get_extra_info("sockname")[0]
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)}
        if headers.get("upgrade") in ("websocket", "h2c"):
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + headers.get("x-key", "").encode())
            await echo(reader, writer)
            return
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        while headers.get("transfer-encoding") == "chunked" and (size := int((await reader.readline()), 16)) >= 0:
            body += (await reader.readexactly(size + 2))[:-2]
            if not size:
                break
        answer = json.dumps({"address": address, "host": headers.get("host"), "length": len(body), "headers": headers}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        await writer.drain()


async def secure(reader: Reader, writer: Writer) -> None:
    address = writer.get_extra_info("sockname")[0]
    writer.write(json.dumps({"address": address, "name": writer.get_extra_info("ssl_object").asked_name}).encode() + b"\n")
    await echo(reader, writer)


async def plain(reader: Reader, writer: Writer) -> None:
    writer.write(f"hello from {writer.get_extra_info('sockname')[0]} to {writer.get_extra_info('peername')[0]}\n".encode())
    await echo(reader, writer)


async def echo(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()


class Socks:
    def __init__(self, log: Path) -> None:
        self._log = log

    async def serve(self, reader: Reader, writer: Writer) -> None:
        _, count = await reader.readexactly(2)
        if 2 not in await reader.readexactly(count):
            writer.write(b"\5\xff")
            return
        writer.write(b"\5\2")
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        if (user, password) != (USER, PASSWORD):
            writer.write(b"\1\1")
            return
        writer.write(b"\1\0")
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            wanted = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            address = SECURE_SITE if wanted == "secure.test" else SITE
        else:
            wanted = address = socket.inet_ntoa(await reader.readexactly(4))
        port = int.from_bytes(await reader.readexactly(2), "big")
        with self._log.open("a") as log:
            log.write(f"{wanted}:{port}\n")
        try:
            upstream = await asyncio.open_connection(address, port)
        except OSError:
            writer.write(b"\5\5\0\1" + bytes(6))
            return
        writer.write(b"\5\0\0\1" + bytes(6))
        await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))


async def _copy(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(data, addr)


def _tls(directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem")

    def remember(connection: Any, name: str | None, _context: ssl.SSLContext) -> None:
        connection.asked_name = name

    context.sni_callback = remember
    return context


async def _main(directory: Path) -> None:
    async def start(handler: Any, address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        async def quietly(reader: Reader, writer: Writer) -> None:
            try:
                await handler(reader, writer)
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                pass
            finally:
                writer.close()

        await asyncio.start_server(quietly, address, port, ssl=tls, backlog=4096)

    context = _tls(directory)
    await start(web, SECURE_SITE, 80)
    await start(web, SECURE_SITE, 443, context)
    for address in (SITE, OTHER_SITE):
        await start(web, address, 80)
        await start(secure, address, 443, context)
        await start(plain, address, PLAIN_PORT)
        await start(plain, address, 22)
        for port in (443, 53):
            await asyncio.get_running_loop().create_datagram_endpoint(_Echo, local_addr=(address, port))
    socks = Socks(directory / "log")
    await start(socks.serve, SOCKS, SOCKS_PORT)
    await start(socks.serve, SOCKS, SOCKS_TLS_PORT, context)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    descriptor = os.open(sys.argv[1], os.O_RDONLY)
    setns(descriptor, CLONE_NEWNET)
    asyncio.run(_main(Path(sys.argv[2])))
