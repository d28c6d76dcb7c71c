"""Which addresses, names and numbers belong to which slot."""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from sandbank.domain.errors import ExhaustedError, InvalidError
from sandbank.runtime.driver import NodeLayout

UIDS_PER_SLOT = 65536


class NetworkPlan:
    """Slot `i` has the /30 at `4 * i` of the subnet: the host's end first, then the sandbox's. Slot 0 is never given out, as in the
    contract (data-plane §11.1), and the last /30 holds the address of the name forwarder.
    """

    prefix_length = 30

    def __init__(self, layout: NodeLayout) -> None:
        if not re.fullmatch(r"[a-z0-9]{1,6}", layout.instance):
            raise InvalidError(f"instance {layout.instance!r}: 1 to 6 of a-z and 0-9")
        try:
            self.subnet = IPv4Network(layout.subnet)
        except ValueError as error:
            raise InvalidError(f"subnet {layout.subnet!r}: {error}") from error
        if self.subnet.prefixlen > 28:
            raise InvalidError(f"subnet {layout.subnet}: too small, at least a /28 is needed")
        self.instance = layout.instance
        self.uid_base = layout.uid_base
        self.last_index = min(layout.max_slots, self.subnet.num_addresses // 4) - 2
        self.resolver_ip = str(self.subnet[-2])
        self.table = f"sandbank_{layout.instance}"
        # An interface's group is set as it is made: unlike its name it tells `sb2`'s slot 5 from `sb`'s slot 25. Zero is everybody's.
        self.group = (zlib.crc32(layout.instance.encode()) & 0x3FFFFFFF | 0x100) << 1
        self.doomed_group = self.group + 1

    def link_name(self, index: int) -> str:
        return f"{self.instance}{index}"

    def host_ip(self, index: int) -> str:
        return str(self._base(index) + 1)

    def ip(self, index: int) -> str:
        return str(self._base(index) + 2)

    def base_uid(self, index: int) -> int:
        return self.uid_base + UIDS_PER_SLOT * index

    def index_of(self, address: str) -> int:
        """The slot that a packet's source address belongs to."""
        return (int(IPv4Address(address)) - int(self.subnet.network_address)) // 4

    def _base(self, index: int) -> IPv4Address:
        return self.subnet[4 * index]


class IndexPool:
    """Gives out slot indexes; one that came back is given out again as late as possible, since traces of it may linger in the kernel."""

    def __init__(self, last: int) -> None:
        self._free = deque(range(1, last + 1))

    def reserve(self, indexes: Iterable[int]) -> None:
        """Take these out; they are in use by others."""
        taken = set(indexes)
        self._free = deque(index for index in self._free if index not in taken)

    def take(self) -> int:
        """`ExhaustedError` when all are in use."""
        if not self._free:
            raise ExhaustedError("no network slot left on this node")
        return self._free.popleft()

    def give_back(self, index: int) -> None:
        self._free.append(index)
