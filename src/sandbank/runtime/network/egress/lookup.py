"""A name's IPv4 addresses from the node's own name servers (RFC 1035); hosts files and search lists have no say."""

from __future__ import annotations

import asyncio
import socket
import struct

from sandbank.runtime.network.query import HEADER_BYTES, question_of
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.upstreams import Upstreams, ask_tcp, ask_udp

_A, _IN = 1, 1
_TRUNCATED = 0x02


class Lookup:
    """Asks anew for every connection: the servers it asks are those that keep answers."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._upstreams = Upstreams(settings.resolv_conf, settings.upstreams)
        self._seconds = settings.resolver_timeout_seconds

    async def addresses(self, name: str) -> list[str]:
        """In the answer's order. `OSError` when no server answers or there is none."""
        query = make_query(name)
        for server in list(self._upstreams.servers()):
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await ask_udp(server, query)
                    if answer[2] & _TRUNCATED:
                        answer = await ask_tcp(server, query)
            except (OSError, EOFError):
                continue
            if found := read_addresses(answer):
                return found
            if answer[3] & 0x0F in (0, 3):  # no such address, no such name: the next server would say the same
                break
        raise OSError(f"{name} has no address")


def make_query(name: str) -> bytes:
    """A question for IPv4 addresses, recursion desired; `name` is in its canonical form."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("ascii").split(b"."))
    return struct.pack("!6H", 0, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", _A, _IN)


def read_addresses(message: bytes) -> list[str]:
    """The A records of an answer, aliases followed as the server did; what cannot be read ends the list."""
    found: list[str] = []
    try:
        position = HEADER_BYTES + len(question_of(message)) if message[4:6] != b"\0\0" else HEADER_BYTES
        for _ in range(int.from_bytes(message[6:8], "big")):
            position = _after_name(message, position)
            kind, family, _, length = struct.unpack_from("!HHIH", message, position)
            position += 10
            if (kind, family, length) == (_A, _IN, 4) and position + 4 <= len(message):
                found.append(socket.inet_ntoa(message[position : position + 4]))
            position += length
    except (ValueError, IndexError, struct.error):
        pass
    return found


def _after_name(message: bytes, position: int) -> int:
    while (length := message[position]) != 0:
        if length >= 0xC0:
            return position + 2
        position += 1 + length
    return position + 1
