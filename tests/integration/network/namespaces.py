"""Namespaces for tests: made by a forked helper, entered by another."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sandbank.runtime.linux.libc import CLONE_NEWNET, CLONE_NEWUSER, setns, unshare
from sandbank.runtime.linux.netlink import Routing

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """Run netlink work in a thread: pyroute2 has a loop of its own, which must not meet the test's."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(work).result()


def keep_only(channel: socket.socket) -> None:
    """In a forked child: let go of the parent's sockets, which would otherwise stay open as long as the child."""
    os.closerange(3, channel.fileno())
    os.closerange(channel.fileno() + 1, 4096)


class Holder:
    """A process in a user and a network namespace of its own, until `end`."""

    def __init__(self, base_uid: int) -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                keep_only(theirs)
                unshare(CLONE_NEWUSER)
                theirs.send(b"u")
                theirs.recv(1)
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
                unshare(CLONE_NEWNET)
                theirs.send(b"n")
                theirs.recv(1)
            finally:
                os._exit(0)
        theirs.close()
        self._channel = ours
        assert ours.recv(1) == b"u"
        for kind in ("uid", "gid"):
            Path(f"/proc/{self.pid}/{kind}_map").write_text(f"0 {base_uid} 65536")
        ours.send(b"x")
        assert ours.recv(1) == b"n"

    def descriptors(self) -> tuple[int, int]:
        user, net = (os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net"))
        return user, net

    def end(self) -> None:
        self._channel.close()
        os.waitpid(self.pid, 0)


async def make_namespaces(base_uid: int) -> tuple[int, int]:
    holder = Holder(base_uid)
    try:
        return holder.descriptors()
    finally:
        holder.end()


def inside(netns_fd: int, work: Callable[[], T]) -> T:
    """What `work` returns, run by a child in that network namespace. A child: a test may do there what it likes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            setns(netns_fd, CLONE_NEWNET)
            try:
                outcome: Any = (True, work())
            except BaseException as error:
                outcome = (False, repr(error))
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(outcome, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    worked, value = pickle.loads(data)
    assert worked, value
    result: T = value
    return result


class Neighbour:
    """A network namespace that stands for the internet or for somebody's private network, linked to the node."""

    def __init__(self, link: str, node_ip: str, ip: str, *also: str) -> None:
        self.ip = ip
        self.link = link
        pid_channel, child = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                keep_only(child)
                unshare(CLONE_NEWNET)
                child.send(b"n")
                child.recv(1)
            finally:
                os._exit(0)
        child.close()
        self._channel = pid_channel
        assert pid_channel.recv(1) == b"n"
        self.netns_fd = os.open(f"/proc/{self._pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        def connect() -> None:
            with Routing() as routing:
                routing.add_veth(link, 0, "out0", self.netns_fd)
                index = routing.index_of(link)
                routing.add_address(index, node_ip, 24)
                routing.set_up(index)

        apart(connect)

        def prepare() -> None:
            with Routing() as routing:
                routing.set_up(routing.index_of("lo"))
                index = routing.index_of("out0")
                for address in (ip, *also):
                    routing.add_address(index, address, 24)
                routing.set_up(index)

        inside(self.netns_fd, prepare)

    def add_route(self, gateway: str) -> None:
        """Answer also packets whose source was not rewritten: a test of blocking must not succeed for want of a way back."""

        def prepare() -> None:
            with Routing() as routing:
                routing.add_default_route(gateway)

        inside(self.netns_fd, prepare)

    def end(self) -> None:
        def disconnect() -> None:
            with Routing() as routing:
                routing.delete(routing.index_of(self.link))

        apart(disconnect)
        os.close(self.netns_fd)
        self._channel.close()
        os.waitpid(self._pid, 0)
