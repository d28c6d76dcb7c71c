"""A sandbox that runs, as the driver knows it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sandbank.aiokit.teardown import TeardownStack
from sandbank.runtime.cgroup.group import Group
from sandbank.runtime.drivers.namespaces.home import Record
from sandbank.runtime.network.slot import Slot


@dataclass(slots=True)
class HomeName:
    """Where its files are by now: one that was made ahead gets its name later."""

    value: str


@dataclass(slots=True)
class Running:
    """What is on record, what it holds, and how all of that is given back. Who changes or saves it takes turns by `changing`."""

    record: Record
    slot: Slot
    pidfd: int
    group: Group
    teardown: TeardownStack
    home: HomeName
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    spare_of: str | None = None  # the snapshot it was made of ahead of whoever wants it
    is_saved: bool = False  # its end is no loss: a complete snapshot says how it goes on
