"""The instance's nftables table: what sandboxes may reach, and what may reach them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from sandbank.aiokit.tasks import finish
from sandbank.runtime.linux import nftables
from sandbank.runtime.linux.nftables import Command, NftError
from sandbank.runtime.network import rules
from sandbank.runtime.network.plan import NetworkPlan
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.slot import Slot


class Firewall:
    """Changes are gathered while nft runs and go out together: making many slots costs few processes."""

    def __init__(self, plan: NetworkPlan, settings: NetworkSettings) -> None:
        self._plan = plan
        self._settings = settings
        self._offline: set[int] = set()
        self._waiting: list[tuple[list[Command], asyncio.Future[None]]] = []
        self._writing: asyncio.Lock = asyncio.Lock()

    async def start(self, adopted: Iterable[Slot]) -> int:
        """Replace the table in one transaction, so that sandboxes that run on are never without; returns how many chains had no slot.

        Slots that were offline stay so. `NftError` when nft refuses.
        """
        slots = list(adopted)
        names = {slot.link_name: slot.index for slot in slots}
        self._offline = {names[name] for name in await self._offline_before() if name in names}
        chains_before = await self._chains_before()
        commands = rules.table(self._plan, self._settings)
        for slot in slots:
            commands += rules.add_slot(self._plan.table, slot, self._settings)
            if slot.index in self._offline:
                commands.append(rules.element("add", self._plan.table, "offline", slot.link_name))
        await self._apply(commands)
        return len(chains_before - {rules.chain_name(slot.index) for slot in slots})

    async def add(self, slot: Slot) -> None:
        """Give a slot its chain; until then all its packets are dropped."""
        await self._apply(rules.add_slot(self._plan.table, slot, self._settings))

    async def remove(self, slots: Iterable[Slot]) -> None:
        """Remove the chains of slots; those without one do not matter."""
        gone = list(slots)
        if gone:
            await self._apply([command for slot in gone for command in rules.remove_slot(self._plan.table, slot)])
            self._offline.difference_update(slot.index for slot in gone)

    async def set_internet(self, slot: Slot, allowed: bool) -> None:
        """Cut a slot off, names included, or let it out again. Costs nothing when that is how it is; a new slot is let out."""
        if allowed == (slot.index not in self._offline):
            return
        if not allowed:
            self._offline.add(slot.index)
        # `add` before `delete`: then a deletion succeeds whatever an earlier failure left.
        changes = ("add",) if not allowed else ("add", "delete")
        try:
            await self._apply([rules.element(change, self._plan.table, "offline", slot.link_name) for change in changes])
        except NftError:
            if not allowed:
                # Not cut off after all: the next attempt must not take it for done.
                self._offline.discard(slot.index)
            raise
        if allowed:
            self._offline.discard(slot.index)

    async def drop(self) -> None:
        """Remove the table."""
        await self._apply(rules.no_table(self._plan.table))

    async def _apply(self, commands: list[Command]) -> None:
        """Cancelled, the change is made all the same."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, done))
        await finish(self._written(done))

    async def _written(self, done: asyncio.Future[None]) -> None:
        async with self._writing:
            if not done.done():
                batch, self._waiting = self._waiting, []
                await self._write(batch)
        await done

    async def _write(self, batch: list[tuple[list[Command], asyncio.Future[None]]]) -> None:
        try:
            await nftables.apply([command for commands, _ in batch for command in commands])
        except BaseException as error:  # noqa: BLE001  # whoever waits has to hear of it, each by its own future
            if len(batch) > 1 and isinstance(error, NftError):
                # One bad change must not fail its neighbours in the batch.
                for entry in batch:
                    await self._write([entry])
                return
            for _, done in batch:
                done.set_exception(error)
            return
        for _, done in batch:
            done.set_result(None)

    async def _offline_before(self) -> list[str]:
        found = await nftables.listing("set", "inet", self._plan.table, "offline")
        elements: list[Any] = next((entry["set"].get("elem", []) for entry in found if "set" in entry), [])
        return [str(element) for element in elements]

    async def _chains_before(self) -> set[str]:
        found = await nftables.listing("table", "inet", self._plan.table)
        return {entry["chain"]["name"] for entry in found if "chain" in entry and entry["chain"]["name"].startswith("slot_")}
