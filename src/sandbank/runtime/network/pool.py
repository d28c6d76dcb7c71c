"""Slots, made ahead of need and used again."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from sandbank.aiokit.tasks import TaskGroup, finish
from sandbank.domain.errors import InternalError, InvalidError, NotFoundError, SandbankError, UnavailableError
from sandbank.runtime.driver import CLOSED, OPEN, EgressPolicy, NodeLayout
from sandbank.runtime.linux.nftables import NftError
from sandbank.runtime.network.egress.flow import Handler
from sandbank.runtime.network.egress.proxy import EgressProxy, Tenant
from sandbank.runtime.network.egress.verdict import Judge
from sandbank.runtime.network.firewall import Firewall
from sandbank.runtime.network.links import Links
from sandbank.runtime.network.node import enable_forwarding, foreign_drops
from sandbank.runtime.network.plan import IndexPool, NetworkPlan
from sandbank.runtime.network.resolver import Resolver
from sandbank.runtime.network.rules import never_reached
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.slot import Slot

NamespaceMaker = Callable[[int], Awaitable[tuple[int, int]]]
_log = structlog.get_logger()
_NAME_ATTEMPTS = 16
_OPEN = Judge(OPEN)


@dataclass(frozen=True, slots=True)
class Adopted:
    """A slot to take over: a process inside, and whose it is. Without a policy on record it is cut off."""

    pid: int
    sandbox_id: str = ""
    policy: EgressPolicy = CLOSED


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """What `start` found and did: names of links removed, chains without a slot, changes to the node, and warnings for the operator."""

    links_removed: tuple[str, ...] = ()
    chains_removed: int = 0
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class SlotPool:
    """Owns every slot of one instance, its firewall table, its name forwarder and its egress proxy."""

    def __init__(
        self, layout: NodeLayout, make_namespaces: NamespaceMaker, settings: NetworkSettings, handler: Handler | None = None
    ) -> None:
        self._plan = NetworkPlan(layout)
        self._make_namespaces = make_namespaces
        self._settings = settings
        self._handler = handler
        self._links = Links(self._plan)
        self._firewall = Firewall(self._plan, settings)
        self._resolver = Resolver(settings, self._plan.resolver_ip)
        self._egress = EgressProxy(settings, self._plan.resolver_ip, never_reached(self._plan), handler)
        self._indexes = IndexPool(self._plan.last_index)
        self._free: deque[Slot] = deque()
        self._held: set[Slot] = set()
        self._used: dict[int, Slot] = {}
        self._making = asyncio.Semaphore(settings.making_limit)
        self._wanted = asyncio.Event()
        self._tasks = TaskGroup("slots", lambda name, error: _log.error("slot task failed", task=name, error=repr(error)))
        self._closing = False
        self._recycling = 0
        self.report = NetworkReport()

    @property
    def free_count(self) -> int:
        """Slots ready to be acquired."""
        return len(self._free)

    async def start(self, adopt: Mapping[int, Adopted]) -> NetworkReport:
        """Take over the slots of `adopt`, remove every other leftover, begin to fill the pool.

        `UnavailableError` when the node lacks something. A slot whose process or link is gone is warned of and not adopted.
        """
        warnings: list[str] = []
        tenants: dict[Slot, Tenant] = {}
        try:
            for index, found in adopt.items():
                if (slot := await self._reopen(index, found.pid)) is None:
                    warnings.append(f"slot {index}: process {found.pid} or its link is gone, not adopted")
                else:
                    self._used[index] = slot
                    tenants[slot] = Tenant(found.sandbox_id, Judge(found.policy))
            self._indexes.reserve(self._used)
            removed = await self._links.remove_others({slot.link_name for slot in self._used.values()})
            change = enable_forwarding()
            chains = await self._firewall.start({slot: tenant.judge for slot, tenant in tenants.items()})
            warnings += await foreign_drops(self._plan)
            await self._links.add_resolver()
            await self._resolver.start()
            self._egress.start({slot.ip: tenant for slot, tenant in tenants.items()})
        except (OSError, NftError) as error:
            raise UnavailableError(f"the sandbox network cannot be set up: {error}") from error
        self.report = NetworkReport(tuple(removed), chains, (change,) if change else (), tuple(warnings))
        self._wanted.set()
        self._tasks.start("refill", self._refill())
        return self.report

    async def acquire(self) -> Slot:
        """A clean slot: at once when one is ready, else made now. Cancelled, nothing is left behind.

        `ExhaustedError` when the node has no index left, `UnavailableError` when one cannot be made.
        """
        if self._closing:
            raise UnavailableError("the node is shutting down")
        slot = self._free.popleft() if self._free else await self._make()
        self._used[slot.index] = slot
        self._wanted.set()
        return slot

    async def release(self, slot: Slot) -> None:
        """Give a slot back; every process in it must have ended. Returns at once, rest and checks go on in the background."""
        if self._used.pop(slot.index, None) is not slot:
            raise InternalError(f"slot {slot.index} is not in use")
        self._egress.set_tenant(slot.ip, None)
        self._held.add(slot)
        self._tasks.start("recycle", self._recycle(slot))

    def adopted(self, index: int) -> Slot:
        """The slot that `start` took over. `NotFoundError` when there is none."""
        if (slot := self._used.get(index)) is None:
            raise NotFoundError(f"slot {index} is not in use")
        return slot

    async def move_in(self, slot: Slot, userns_fd: int, netns_fd: int, addresses: Sequence[str]) -> None:
        """Have other namespaces take the place of the slot's own, which owns the descriptors from then on; `addresses` stay local ones.

        `UnavailableError` when that is refused.
        """
        try:
            await self._links.move(slot, netns_fd, addresses)
        except OSError as error:
            raise UnavailableError(f"slot {slot.index}: its link cannot be moved: {error}") from error
        slot.replace_namespaces(userns_fd, netns_fd)

    async def end_severed(self, slot: Slot) -> None:
        """End its connections whose other end was outside when it was saved; `UnavailableError` when the kernel refuses."""
        try:
            await self._links.end_severed(slot)
        except OSError as error:
            raise UnavailableError(f"slot {slot.index}: connections of before cannot be ended: {error}") from error

    async def set_egress(self, slot: Slot, sandbox_id: str, policy: EgressPolicy) -> None:
        """What its tenant may reach: in force when it returns, as before when it raises. `OPEN` is how a slot comes, and costs nothing.

        Two changes of one slot must not overlap. Cancelled, the change is made all the same.
        """
        if policy.transforms and self._handler is None:
            raise InvalidError("this node cannot set headers of requests")
        judge = Judge(policy)
        # The proxy knows first: what the firewall redirects to it must find the policy there.
        before = self._egress.set_tenant(slot.ip, Tenant(sandbox_id, judge))
        try:
            await self._firewall.set_policy(slot, judge)
        except NftError as error:
            self._egress.set_tenant(slot.ip, before)
            raise UnavailableError(f"slot {slot.index}: the firewall refused: {error}") from error

    async def close(self, *, remove: bool = False) -> None:
        """Let go of everything; slots in use stay for the next `start`, unless `remove` takes everything away."""
        self._closing = True
        await finish(self._close(remove))

    async def _close(self, remove: bool) -> None:
        await self._tasks.close()
        await self._resolver.close()
        await self._egress.close()
        for _ in range(self._settings.making_limit):
            await self._making.acquire()
        ending = [*self._free, *self._held, *(self._used.values() if remove else ())]
        self._free.clear()
        self._held.clear()
        try:
            await self._links.remove(ending)
            if remove:
                await self._links.remove_others(set())
                await self._firewall.drop()
                await self._links.remove_resolver()
            else:
                await self._firewall.remove(ending)
        except (OSError, NftError) as error:
            raise UnavailableError(f"the sandbox network cannot be taken down: {error}") from error
        finally:
            for slot in (*ending, *self._used.values()):
                slot.close()
            self._used.clear()
            self._links.close()

    async def _make(self) -> Slot:
        """One new slot, made to its end even when the caller is cancelled; then it goes to the free ones."""
        async with self._making:
            if self._closing:
                raise UnavailableError("the node is shutting down")
            made: list[Slot] = []

            async def build() -> None:
                made.append(await self._build())

            try:
                await finish(build())
            except asyncio.CancelledError:
                self._free.extend(made)
                raise
            if self._closing:
                # `close` waits for what is being made and then removes all free ones.
                self._free.extend(made)
                raise UnavailableError("the node is shutting down")
            return made[0]

    async def _build(self) -> Slot:
        for _ in range(_NAME_ATTEMPTS):
            index = self._indexes.take()
            try:
                return await self._build_at(index)
            except BaseException as error:
                self._indexes.give_back(index)
                # The name is taken until the namespace that had it is really gone, or by a stranger: another index will do.
                if isinstance(error, OSError) and error.errno == errno.EEXIST:
                    continue
                if isinstance(error, (OSError, NftError)):
                    raise UnavailableError(f"slot {index} cannot be made: {error}") from error
                raise
        raise UnavailableError("no slot can be made: all names tried are taken")

    async def _build_at(self, index: int) -> Slot:
        userns, netns = await self._make_namespaces(self._plan.base_uid(index))
        slot = self._slot(index, userns, netns)
        try:
            await self._links.connect(slot)
            try:
                await self._firewall.add(slot)
            except BaseException:
                await self._links.remove([slot])
                raise
        except BaseException:
            slot.close()
            raise
        return slot

    def _slot(self, index: int, userns_fd: int, netns_fd: int) -> Slot:
        plan = self._plan
        return Slot(
            index=index,
            base_uid=plan.base_uid(index),
            userns_fd=userns_fd,
            netns_fd=netns_fd,
            host_ip=plan.host_ip(index),
            ip=plan.ip(index),
            prefix_length=plan.prefix_length,
            link_name=plan.link_name(index),
        )

    async def _reopen(self, index: int, pid: int) -> Slot | None:
        descriptors: list[int] = []
        try:
            descriptors.extend(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net"))
        except OSError:
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        slot = self._slot(index, *descriptors)
        if not await self._links.exists(slot):
            slot.close()
            return None
        return slot

    async def _refill(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while (missing := self._settings.free_target - len(self._free) - self._recycling) > 0:
                results = await asyncio.gather(*(self._add_free() for _ in range(min(missing, self._settings.making_limit))))
                if not all(results):
                    await asyncio.sleep(self._settings.retry_seconds)

    async def _add_free(self) -> bool:
        try:
            self._free.append(await self._make())
        except SandbankError as error:
            _log.warning("a slot could not be prepared", error=error.message)
            return False
        return True

    async def _recycle(self, slot: Slot) -> None:
        self._recycling += 1
        try:
            await asyncio.sleep(self._settings.hold_seconds)
            clean = not slot.is_spent and await self._links.is_clean(slot)
            if clean:
                await self._firewall.set_policy(slot, _OPEN)
        except NftError as error:
            _log.warning("a slot could not be reset", slot=slot.index, error=str(error))
            clean = False
        finally:
            self._recycling -= 1
            self._wanted.set()
        self._held.discard(slot)
        if clean and len(self._free) < self._settings.free_limit:
            self._free.append(slot)
            return
        await finish(self._destroy(slot))

    async def _destroy(self, slot: Slot) -> None:
        try:
            await self._links.remove([slot])
            await self._firewall.remove([slot])
        except (OSError, NftError) as error:
            # Its index stays out of use; the next start removes what is left.
            _log.error("a slot could not be removed", slot=slot.index, error=str(error))
        else:
            self._indexes.give_back(slot.index)
        finally:
            slot.close()
