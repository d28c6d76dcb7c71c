"""A tiny name server on loopback: `a.test` has an address, `long.test` is truncated over UDP, `silent.test` is silent; and `zone`."""

from __future__ import annotations

import asyncio
import socket
import struct

ADDRESS = bytes([198, 51, 100, 7])
Zone = dict[str, list[str]]


def query(name: str, transaction: bytes = b"\x12\x34") -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return transaction + b"\1\0" + b"\0\1" + bytes(6) + labels + b"\0" + b"\0\1\0\1"


def asked_name(asked: bytes) -> str:
    labels, position = [], 12
    while length := asked[position]:
        labels.append(asked[position + 1 : position + 1 + length].decode())
        position += 1 + length
    return ".".join(labels)


def response(asked: bytes, records: int, *, truncated: bool = False, addresses: list[str] | None = None) -> bytes:
    head = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4)
    if addresses is not None:
        answer = b"".join(head + socket.inet_aton(address) for address in addresses)
        return asked[:2] + b"\x81\x80" + b"\0\1" + struct.pack("!H", len(addresses)) + bytes(4) + asked[12:] + answer
    record = head + ADDRESS
    flags = b"\x83\x80" if truncated else b"\x81\x80"
    return asked[:2] + flags + b"\0\1" + struct.pack("!H", records) + bytes(4) + asked[12:] + record * records


class NameServer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.asked_from: list[tuple[str, int]] = []
        self.transactions: list[bytes] = []
        self.zone: Zone = {}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()
        loop = asyncio.get_running_loop()
        self._datagrams, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self.address)

    async def close(self) -> None:
        self._datagrams.close()
        self._server.close()
        await self._server.wait_closed()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked_from.append(addr)
        self.transactions.append(data[:2])
        if b"silent" in data:
            return
        if (addresses := self.zone.get(asked_name(data))) is not None:
            self._datagrams.sendto(response(data, 0, addresses=addresses), addr)
        elif b"long" in data:
            self._datagrams.sendto(response(data, 0, truncated=True), addr)
        else:
            self._datagrams.sendto(response(data, 1), addr)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answer = response(await reader.readexactly(length), 100)
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
        finally:
            writer.close()
