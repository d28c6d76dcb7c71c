"""What a sandbox might send, and listeners that would notice. All of it runs in children inside a namespace."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import struct
from collections.abc import Callable
from typing import TypeVar

from sandbank.runtime.linux.libc import CLONE_NEWNET, setns
from tests.integration.network.namespaces import inside, keep_only

T = TypeVar("T")


async def within(netns_fd: int, work: Callable[..., T], *arguments: object) -> T:
    """Without blocking the loop, in which the name forwarder lives."""
    return await asyncio.to_thread(inside, netns_fd, functools.partial(work, *arguments))


def tcp(address: str, port: int, seconds: float = 1.0) -> str:
    """What the peer says first; 'timeout' or 'refused' when there is none."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            return connection.recv(100).decode()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return "refused" if error.errno == 111 else f"errno {error.errno}"


def udp(address: str, port: int, data: bytes = b"ping", seconds: float = 1.0) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        try:
            sock.sendto(data, (address, port))
            return sock.recv(65535)
        except OSError:
            return None


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ping(address: str, seconds: float = 1.0) -> bool:
    body = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
    body = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(seconds)
        try:
            sock.sendto(body, (address, 0))
            while True:
                answer, _ = sock.recvfrom(1000)
                if answer[20] == 0:
                    return True
        except OSError:
            return False


def spoofed_udp(source: str, address: str, port: int) -> None:
    """One datagram whose IP source is made up."""
    payload = struct.pack("!HHHH", 40000, port, 13, 0) + b"spoof"
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(address))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(header + payload, (address, 0))


class Listener:
    """Says hello on TCP with the address it sees, echoes UDP, in a child of its own; `heard` tells whose datagrams came."""

    def __init__(self, netns_fd: int | None, address: str, port: int) -> None:
        self._ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                if netns_fd is not None:
                    setns(netns_fd, CLONE_NEWNET)
                keep_only(theirs)
                _listen(theirs, address, port)
            finally:
                os._exit(0)
        theirs.close()
        assert self._ours.recv(1) == b"r"

    def heard(self) -> set[str]:
        self._ours.send(b"?")
        return set(self._ours.recv(65535).decode().split())

    def end(self) -> None:
        self._ours.close()
        os.waitpid(self._pid, 0)


def _listen(control: socket.socket, address: str, port: int) -> None:
    import select

    stream = socket.create_server((address, port))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, port))
    control.send(b"r")
    heard: set[str] = set()
    while True:
        ready, _, _ = select.select([stream, datagrams, control], [], [])
        if stream in ready:
            connection, peer = stream.accept()
            heard.add(peer[0])
            connection.sendall(f"hello {peer[0]}".encode())
            connection.close()
        if datagrams in ready:
            data, peer = datagrams.recvfrom(1000)
            heard.add(peer[0])
            datagrams.sendto(data, peer)
        if control in ready:
            if not control.recv(1):
                return
            control.send((" ".join(heard) or " ").encode())
