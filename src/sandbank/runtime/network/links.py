"""The links between the node and its slots: made, checked and removed by one thread that may enter other network namespaces."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sandbank.aiokit.tasks import finish
from sandbank.runtime.linux.netlink import Routing, destroy_tcp_sockets, end_severed_connections, forget_connections, network_of
from sandbank.runtime.network.plan import NetworkPlan
from sandbank.runtime.network.slot import Slot

T = TypeVar("T")
INNER_NAME = "eth0"
# A reply for this address only on this link, no answer for others' addresses, sources checked both here and in the firewall.
_HOST_END = {"arp_ignore": "1", "arp_announce": "2", "rp_filter": "1", "proxy_arp": "0", "accept_redirects": "0", "send_redirects": "0"}
# Every group may send echo requests, so that ping works without the right to make raw packets.
_PING_GROUPS = ("net/ipv4/ping_group_range", "0\t2147483647")


class Links:
    """Runs its work in order on a thread of its own; every method finishes although its caller is cancelled."""

    def __init__(self, plan: NetworkPlan) -> None:
        self._plan = plan
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{plan.instance}-links")

    async def connect(self, slot: Slot) -> None:
        """Make a slot's link, both ends up. `OSError` EEXIST while its name is taken; failed, nothing is left."""
        await self._run(lambda: self._connect(slot))

    async def move(self, slot: Slot, netns_fd: int, addresses: Sequence[str]) -> None:
        """Put the inner end of a slot's link into another network namespace, set up as in its own; `addresses` are its own as well.

        What is bound to an address of an earlier slot stays reachable from inside by that.
        """

        def move() -> None:
            with network_of(slot.netns_fd), Routing() as inside:
                inside.move(inside.index_of(INNER_NAME), netns_fd)
            _set_up_inside(slot, netns_fd, addresses)

        await self._run(move)

    async def end_severed(self, slot: Slot) -> None:
        """End connections whose other end is elsewhere, as it was when a snapshot was taken."""

        def end() -> None:
            with network_of(slot.netns_fd):
                end_severed_connections()

        await self._run(end)

    async def is_clean(self, slot: Slot) -> bool:
        """End what sockets a former tenant left and tell whether all is as it was made. False also when that cannot be told."""
        return await self._run(lambda: self._is_clean(slot))

    async def exists(self, slot: Slot) -> bool:
        """Whether the host's end is there."""

        def look() -> bool:
            with Routing() as routing:
                return any(link.name == slot.link_name and link.group == self._plan.group for link in routing.links())

        return await self._run(look)

    async def remove(self, slots: Iterable[Slot]) -> None:
        """Delete the links of these slots together, at the cost of one."""
        names = {slot.link_name for slot in slots}
        await self._run(lambda: self._remove(names.__contains__))

    async def remove_others(self, keep: set[str]) -> list[str]:
        """Delete every link of this instance that is not named in `keep`; returns their names."""
        return await self._run(lambda: self._remove(lambda name: name not in keep))

    async def add_resolver(self) -> None:
        """The name forwarder's address, on the loopback interface as not every kernel has dummy ones; one there already is kept."""

        def add(routing: Routing) -> None:
            routing.add_address(routing.index_of("lo"), self._plan.resolver_ip, 32)

        await self._run(lambda: _tolerating(errno.EEXIST, add))

    async def remove_resolver(self) -> None:
        """The opposite of `add_resolver`."""

        def remove(routing: Routing) -> None:
            routing.delete_address(routing.index_of("lo"), self._plan.resolver_ip, 32)

        await self._run(lambda: _tolerating(errno.EADDRNOTAVAIL, remove))

    def close(self) -> None:
        """End the thread when its work is done."""
        self._thread.shutdown(wait=True)

    async def _run(self, work: Callable[[], T]) -> T:
        async def wait() -> T:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

        return await finish(wait())

    def _connect(self, slot: Slot) -> None:
        with Routing() as routing:
            routing.add_veth(slot.link_name, self._plan.group, INNER_NAME, slot.netns_fd)
            index = routing.index_of(slot.link_name)
            try:
                _write_sysctl(f"net/ipv6/conf/{slot.link_name}/disable_ipv6", "1", optional=True)
                for name, value in _HOST_END.items():
                    _write_sysctl(f"net/ipv4/conf/{slot.link_name}/{name}", value)
                routing.add_address(index, slot.host_ip, slot.prefix_length)
                routing.set_up(index)
                _set_up_inside(slot, slot.netns_fd)
            except BaseException:
                routing.delete(index)
                raise

    def _is_clean(self, slot: Slot) -> bool:
        try:
            forget_connections(slot.ip)
            with network_of(slot.netns_fd):
                if _sockets_in_use():
                    destroy_tcp_sockets()
                    if _sockets_in_use():
                        return False
                _write_sysctl("net/ipv4/route/flush", "1")
                # Only now: pyroute2 makes sockets of its own here.
                return self._is_as_made(slot)
        except OSError:
            return False

    def _is_as_made(self, slot: Slot) -> bool:
        required = {("lo", "127.0.0.1", 8), (INNER_NAME, slot.ip, slot.prefix_length)}
        with Routing() as inside:
            return (
                {link.name: link.up for link in inside.links()} == {"lo": True, INNER_NAME: True}
                and required <= inside.addresses() <= required | {("lo", "::1", 128)}
                and inside.default_gateways() == [slot.host_ip]
                and Path("/proc/sys", _PING_GROUPS[0]).read_text().split() == _PING_GROUPS[1].split()
            )

    def _remove(self, wanted: Callable[[str], bool]) -> list[str]:
        """Down to one deletion: links are moved to a group of their own, which the firewall drops, and that group is deleted."""
        groups = (self._plan.group, self._plan.doomed_group)
        with Routing() as routing:
            doomed = [link for link in routing.links() if link.kind == "veth" and link.group in groups and wanted(link.name)]
            gone: list[str] = []
            for link in doomed:
                try:
                    routing.set_group(link.index, self._plan.doomed_group)
                except OSError as error:
                    if error.errno != errno.ENODEV:
                        raise
                gone.append(link.name)
            if gone:
                try:
                    routing.delete_group(self._plan.doomed_group)
                except OSError as error:
                    if error.errno != errno.ENODEV:
                        raise
            return gone


def _set_up_inside(slot: Slot, netns_fd: int, addresses: Sequence[str] = ()) -> None:
    with network_of(netns_fd), Routing() as inside:
        _write_sysctl(f"net/ipv6/conf/{INNER_NAME}/disable_ipv6", "1", optional=True)
        _write_sysctl(*_PING_GROUPS)
        loopback = inside.index_of("lo")
        inside.set_up(loopback)
        for address in addresses:
            inside.add_address(loopback, address, 32)
        inner = inside.index_of(INNER_NAME)
        inside.add_address(inner, slot.ip, slot.prefix_length)
        inside.set_up(inner)
        inside.add_default_route(slot.host_ip)


def _tolerating(number: int, work: Callable[[Routing], None]) -> None:
    with Routing() as routing:
        try:
            work(routing)
        except OSError as error:
            if error.errno != number:
                raise


def _write_sysctl(name: str, value: str, *, optional: bool = False) -> None:
    """`optional`: the kernel may have been built without it."""
    path = Path("/proc/sys", name)
    if not optional or path.exists():
        path.write_text(value)


def _sockets_in_use() -> bool:
    """Whether this thread's network namespace has any socket but netlink ones: from the kernel's own counters, which cost nothing.

    TIME_WAIT is counted beside `inuse`. Unix sockets are listed per namespace, abstract names and all.
    """
    for name in ("sockstat", "sockstat6"):
        try:
            lines = Path("/proc/thread-self/net", name).read_text().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            kind, *words = line.split()
            counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
            if kind != "sockets:" and counts.get("inuse", 0) + counts.get("tw", 0) > 0:
                return True
    return len(Path("/proc/thread-self/net/unix").read_text().splitlines()) > 1
