"""Links, addresses, routes, sockets and tracked connections over netlink, in this thread's network namespace. Blocking, milliseconds."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from sandbank.runtime.linux.libc import CLONE_NEWNET, setns

NETLINK_SOCK_DIAG = 4
NETLINK_NETFILTER = 12
_NLM_F_REQUEST = 1
_NLM_F_ACK = 4
_NLM_F_DUMP = 0x300
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_HEADER = struct.Struct("=IHHII")
_SOCK_DIAG_BY_FAMILY = 20
_SOCK_DESTROY = 21
_CT_DELETE = 0x0102
_WITHOUT_PEER = (7, 10)  # TCP_CLOSE and TCP_LISTEN
_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Link:
    """One interface as the kernel reports it. `kind` is None for devices that are no virtual ones."""

    index: int
    name: str
    kind: str | None
    group: int
    up: bool


@contextmanager
def network_of(descriptor: int) -> Iterator[None]:
    """Run the body in the network namespace behind `descriptor`; the thread must be one that no other work shares meanwhile.

    A thread that cannot go home would do host work in a tenant's network, so failing to return aborts the process.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, CLONE_NEWNET)
        try:
            yield
        finally:
            try:
                setns(home, CLONE_NEWNET)
            except BaseException:  # noqa: BLE001  # going on in the wrong namespace is worse than ending
                os.abort()
    finally:
        os.close(home)


class Routing:
    """One rtnetlink socket. Errors of the kernel come as `OSError` with the errno."""

    def __init__(self) -> None:
        self._route = IPRoute()

    def __enter__(self) -> Routing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._route.close()

    def links(self) -> list[Link]:
        """Every interface of the namespace."""
        with _os_errors():
            return [
                Link(
                    index=message["index"],
                    name=message.get_attr("IFLA_IFNAME"),
                    kind=message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND"),
                    group=message.get_attr("IFLA_GROUP") or 0,
                    up=bool(message["flags"] & 1),
                )
                for message in self._route.get_links()
            ]

    def index_of(self, name: str) -> int:
        """`OSError` ENODEV when there is none of that name."""
        found = socket_index(name)
        if found is None:
            raise OSError(errno.ENODEV, f"no interface {name}")
        return found

    def add_veth(self, name: str, group: int, peer_name: str, peer_netns: int) -> None:
        """A pair whose other end is born in `peer_netns`. EEXIST while the name is taken, also by a namespace still being torn down."""
        with _os_errors():
            self._route.link("add", ifname=name, kind="veth", group=group, peer={"ifname": peer_name, "net_ns_fd": peer_netns})

    def set_up(self, index: int) -> None:
        """Bring an interface up."""
        with _os_errors():
            self._route.link("set", index=index, state="up")

    def move(self, index: int, netns: int) -> None:
        """Put an interface into another network namespace, where it is down and without addresses."""
        with _os_errors():
            self._route.link("set", index=index, net_ns_fd=netns)

    def set_group(self, index: int, group: int) -> None:
        """Move an interface to another group."""
        with _os_errors():
            self._route.link("set", index=index, group=group)

    def delete(self, index: int) -> None:
        """Delete one interface and, of a pair, the other end."""
        with _os_errors():
            self._route.link("del", index=index)

    def delete_group(self, group: int) -> None:
        """Delete all interfaces of a group at once, which costs what one does: the kernel waits for its readers only once."""
        with _os_errors():
            self._route.link("del", index=0, group=group)

    def add_address(self, index: int, address: str, prefix_length: int) -> None:
        """EEXIST when it is there."""
        with _os_errors():
            self._route.addr("add", index=index, address=address, prefixlen=prefix_length)

    def delete_address(self, index: int, address: str, prefix_length: int) -> None:
        """EADDRNOTAVAIL when it is not there."""
        with _os_errors():
            self._route.addr("del", index=index, address=address, prefixlen=prefix_length)

    def add_default_route(self, gateway: str) -> None:
        """IPv4 only."""
        with _os_errors():
            self._route.route("add", dst="default", gateway=gateway)

    def addresses(self) -> set[tuple[str, str, int]]:
        """(interface, address, prefix length) of every address, both families."""
        with _os_errors():
            names = {link.index: link.name for link in self.links()}
            found = [(names.get(m["index"]), m.get_attr("IFA_ADDRESS"), m["prefixlen"]) for m in self._route.get_addr()]
            # An interface may come or go between the two listings.
            return {(name, address, length) for name, address, length in found if name is not None}

    def default_gateways(self) -> list[str | None]:
        """The gateway of each IPv4 default route; None for one without."""
        with _os_errors():
            return [m.get_attr("RTA_GATEWAY") for m in self._route.get_default_routes(family=socket.AF_INET)]


def socket_index(name: str) -> int | None:
    """The index of an interface of this thread's namespace, None when there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


@contextmanager
def _os_errors() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, f"netlink: {error.args[1] if len(error.args) > 1 else os.strerror(error.code)}") from error


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def _exchange(protocol: int, kind: int, flags: int, payload: bytes) -> list[bytes]:
    """One request, the payloads of its answers; `OSError` for what the kernel refuses."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as channel:
        channel.bind((0, 0))
        channel.sendto(_HEADER.pack(_HEADER.size + len(payload), kind, flags | _NLM_F_REQUEST, 1, 0) + payload, (0, 0))
        answers: list[bytes] = []
        while True:
            data = channel.recv(1 << 16)
            while data:
                length, answer_kind, *_ = _HEADER.unpack_from(data)
                body = data[_HEADER.size : length]
                data = data[length + (-length % 4) :]
                if answer_kind == _NLMSG_DONE:
                    return answers
                if answer_kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        raise OSError(number, f"netlink: {os.strerror(number)}")
                    return answers
                answers.append(body)


def forget_connections(source: str) -> None:
    """Drop every tracked IPv4 connection whose original source is `source`, so that no late packet passes as part of one.

    ENOENT, nothing tracked, is no error. Filtered deletion needs Linux 5.8 (`CTA_FILTER` in ctnetlink).
    """
    nested = 0x8000
    address = _attribute(1 | nested, _attribute(1, socket.inet_aton(source)))  # CTA_TUPLE_IP { CTA_IP_V4_SRC }
    tuple_original = _attribute(1 | nested, address)  # CTA_TUPLE_ORIG
    only_source = _attribute(25 | nested, _attribute(1, struct.pack("=I", 1)) + _attribute(2, struct.pack("=I", 0)))  # CTA_FILTER
    family = struct.pack("=BBH", socket.AF_INET, 0, 0)
    try:
        _exchange(NETLINK_NETFILTER, _CT_DELETE, _NLM_F_ACK, family + tuple_original + only_source)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def destroy_tcp_sockets() -> int:
    """End every TCP socket of this namespace, those in TIME_WAIT and those without an owner included; returns how many there were.

    `OSError` EOPNOTSUPP on kernels without CONFIG_INET_DIAG_DESTROY.
    """
    return _destroy(_tcp_sockets())


def end_severed_connections() -> int:
    """End TCP connections of this namespace whose other end is not in it: whoever has one learns of it at his next read or write.

    Returns how many there were; `OSError` as `destroy_tcp_sockets`.
    """
    connections = [answer for answer in _tcp_sockets() if answer[1] not in _WITHOUT_PEER]
    here = {_ends(answer) for answer in connections}
    return _destroy(answer for answer in connections if _ends(answer)[::-1] not in here)


def _tcp_sockets() -> list[bytes]:
    """`inet_diag_msg`: family, state, timer, retransmits, then the socket's identity, 48 bytes, which names it in a request too."""
    found: list[bytes] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        request = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + bytes(48)
        found += _exchange(NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_DUMP, request)
    return found


def _destroy(answers: Iterable[bytes]) -> int:
    ended = 0
    for answer in answers:
        try:
            request_end = struct.pack("=BBBBI", answer[0], socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + answer[4:52]
            _exchange(NETLINK_SOCK_DIAG, _SOCK_DESTROY, _NLM_F_ACK, request_end)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        ended += 1
    return ended


def _ends(answer: bytes) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Address and port of both ends, its own first; IPv4 as IPv6 maps it, since the two ends may see it differently."""
    ports, addresses = (answer[4:6], answer[6:8]), (answer[8:24], answer[24:40])
    if answer[0] == socket.AF_INET:
        addresses = (_MAPPED + addresses[0][:4], _MAPPED + addresses[1][:4])
    return (addresses[0], ports[0]), (addresses[1], ports[1])
