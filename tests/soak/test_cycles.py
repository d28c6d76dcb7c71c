"""Many sandboxes come and go; afterwards the node is as it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter

import httpx
from e2b import AsyncSandbox

from tests.product.instance import SEEDED_API_KEY, Instance
from tests.product.inventory import Inventory, client_connections, descriptors, sandbox_pids, take
from tests.product.processes import service_pid, zygote_pid

CYCLES = int(os.environ.get("SANDBANK_SOAK_CYCLES", "1000"))
AT_ONCE = 8
BURST = 100
SETTLE_SECONDS = 60.0
READY_SLOTS_LIMIT = 140
"""Released slots are kept for the next sandboxes, up to a limit that a thousand cycles would pass if each left one behind."""


async def cycles(count: int) -> list[str]:
    """Creates, uses and kills that many sandboxes, eight at a time; returns what went wrong."""
    numbers = iter(range(count))
    failures: list[str] = []

    async def one(number: int) -> None:
        sandbox = await AsyncSandbox.create(timeout=120, metadata={"cycle": str(number)}, envs={"N": str(number)}, retries=0)
        try:
            result = await sandbox.commands.run("echo $N; echo $N > file")
            assert result.stdout == f"{number}\n"
            assert await sandbox.files.read("file") == f"{number}\n"
        finally:
            assert await sandbox.kill() is True

    async def worker() -> None:
        for number in numbers:
            try:
                await one(number)
            except Exception as error:
                failures.append(f"{number}: {error!r}")

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return failures


def open_descriptors(server: Instance) -> Counter[str]:
    """Of the service and of the zygote together, without those that clients and the bounded pool of the database account for."""
    found = descriptors(service_pid(server)) + descriptors(zygote_pid(server))
    found["socket"] -= client_connections(server)
    return Counter({kind: number for kind, number in found.items() if "/sandbank.db" not in kind})


def per_sandbox(inventory: Inventory) -> dict[str, int]:
    """What must be back to where it was: all that is not part of a slot, slots being kept ready for the next sandboxes."""
    counts = inventory.counts()
    slots = counts.pop("interfaces")
    counts["chains"] -= 2 * slots  # one for where it comes from, one for where it may go
    counts["namespaces"] -= 2 * slots
    return counts


def without_slots(kinds: Counter[str], inventory: Inventory) -> Counter[str]:
    """Open descriptors but for the two namespaces of every slot."""
    slots = inventory.counts()["interfaces"]
    return kinds - Counter({"ns:user": slots, "ns:net": slots})


async def settled(server: Instance, earlier: Inventory, kinds: Counter[str]) -> tuple[Inventory, Counter[str]]:
    """Waits until no more is there than was before, and returns what is there in the end in any case."""
    waited, expected = 0.0, without_slots(kinds, earlier)
    while True:
        inventory, found = take(server), open_descriptors(server)
        fits = per_sandbox(inventory) == per_sandbox(earlier) and not without_slots(found, inventory) - expected
        if fits or waited >= SETTLE_SECONDS:
            return inventory, found
        waited += 0.5
        await asyncio.sleep(0.5)


async def test_cycles_leave_nothing(server: Instance) -> None:
    assert await cycles(4 * AT_ONCE) == []
    await asyncio.sleep(3)
    before, kinds = take(server), open_descriptors(server)
    assert sandbox_pids(server) == []
    assert await cycles(CYCLES) == []
    after, found = await settled(server, before, kinds)
    assert per_sandbox(after) == per_sandbox(before), f"{after.beyond(before)}"
    assert len(after.interfaces) <= READY_SLOTS_LIMIT
    grown = without_slots(found, after) - without_slots(kinds, before)
    assert not grown, f"descriptors grown: {grown}"
    assert sandbox_pids(server) == []


async def test_burst_of_creates(server: Instance) -> None:
    assert sandbox_pids(server) == []
    results = await asyncio.gather(
        *(AsyncSandbox.create(timeout=300, envs={"N": str(number)}, retries=0) for number in range(BURST)), return_exceptions=True
    )
    failed = [result for result in results if isinstance(result, BaseException)]
    made = [result for result in results if isinstance(result, AsyncSandbox)]
    try:
        assert failed == []
        assert len({sandbox.sandbox_id for sandbox in made}) == BURST
        outputs = await asyncio.gather(*(sandbox.commands.run("echo $N") for sandbox in made))
        assert [output.stdout for output in outputs] == [f"{number}\n" for number in range(BURST)]
        async with httpx.AsyncClient(base_url=server.api_url, headers={"X-API-KEY": SEEDED_API_KEY}) as client:
            listed = (await client.get("/sandboxes")).json()
        assert {item["sandboxID"] for item in listed} == {sandbox.sandbox_id for sandbox in made}
    finally:
        killed = await asyncio.gather(*(sandbox.kill() for sandbox in made), return_exceptions=True)
    assert set(killed) == {True}
    await assert_no_process(server)


async def test_clients_that_hang_up_during_create_orphan_nothing(server: Instance) -> None:
    """A client that gave up does not know the id: the sandbox is either not made or ends by its timeout, and is listed until then."""
    async with httpx.AsyncClient(base_url=server.api_url, headers={"X-API-KEY": SEEDED_API_KEY}) as client:

        async def give_up(milliseconds: int) -> None:
            with contextlib.suppress(httpx.TimeoutException):
                await client.post("/sandboxes", json={"templateID": "base", "timeout": 3}, timeout=milliseconds / 1000)

        await asyncio.gather(*(give_up(milliseconds) for milliseconds in range(1, 21)))
        # What was asked for may still be on its way when the client has long gone: gone is what stays away.
        empty = 0
        for _ in range(300):
            empty = empty + 1 if (await client.get("/sandboxes")).json() == [] else 0
            if empty == 20:
                break
            await asyncio.sleep(0.1)
        assert (await client.get("/sandboxes")).json() == []
    await assert_no_process(server)


async def assert_no_process(server: Instance) -> None:
    """The last processes of killed sandboxes may still be on their way out."""
    for _ in range(100):
        if not sandbox_pids(server):
            return
        await asyncio.sleep(0.1)
    assert sandbox_pids(server) == []
