"""The instance's nftables table: what sandboxes may reach, and what may reach them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from sandbank.aiokit.tasks import finish
from sandbank.runtime.driver import OPEN, EgressPolicy
from sandbank.runtime.linux import nftables
from sandbank.runtime.linux.nftables import Command, NftError
from sandbank.runtime.network import rules, slot_rules
from sandbank.runtime.network.egress.verdict import Judge
from sandbank.runtime.network.plan import NetworkPlan
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.slot import Slot


class Firewall:
    """Changes are gathered while nft runs and go out together: making many slots costs few processes."""

    def __init__(self, plan: NetworkPlan, settings: NetworkSettings) -> None:
        self._plan = plan
        self._settings = settings
        self._policies: dict[int, EgressPolicy] = {}
        self._waiting: list[tuple[list[Command], asyncio.Future[None]]] = []
        self._writing: asyncio.Lock = asyncio.Lock()

    async def start(self, adopted: Mapping[Slot, Judge]) -> int:
        """Replace the table in one transaction, so that sandboxes that run on are never without; returns how many chains had no slot.

        `NftError` when nft refuses.
        """
        chains_before = await self._chains_before()
        commands = rules.table(self._plan, self._settings)
        for slot, judge in adopted.items():
            commands += slot_rules.add_slot(self._plan.table, slot, self._settings)
            commands += slot_rules.set_policy(self._plan.table, slot, judge, self._settings)
        await self._apply(commands)
        self._policies = {slot.index: judge.policy for slot, judge in adopted.items()}
        return len(chains_before - {slot_rules.chain_name(slot.index) for slot in adopted})

    async def add(self, slot: Slot) -> None:
        """Give a slot its chain; until then all its packets are dropped."""
        await self._apply(slot_rules.add_slot(self._plan.table, slot, self._settings))
        self._policies[slot.index] = OPEN

    async def remove(self, slots: Iterable[Slot]) -> None:
        """Remove the chains of slots; those without one do not matter."""
        gone = list(slots)
        if gone:
            await self._apply([command for slot in gone for command in slot_rules.remove_slot(self._plan.table, slot)])
            for slot in gone:
                self._policies.pop(slot.index, None)

    async def set_policy(self, slot: Slot, judge: Judge) -> None:
        """In force when it returns, as before when it raises. Costs nothing when that is how it is; a new slot's is `OPEN`.

        Two changes of one slot must not overlap.
        """
        if self._policies.get(slot.index) == judge.policy:
            return
        # Not known until nft has answered: a cancelled caller's change is made, the next one must not take the old one for it.
        self._policies.pop(slot.index, None)
        await self._apply(slot_rules.set_policy(self._plan.table, slot, judge, self._settings))
        self._policies[slot.index] = judge.policy

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

    async def _chains_before(self) -> set[str]:
        found = await nftables.listing("table", "inet", self._plan.table)
        return {entry["chain"]["name"] for entry in found if "chain" in entry and entry["chain"]["name"].startswith("slot_")}
