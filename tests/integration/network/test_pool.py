"""Slots made, used again, adopted and removed."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from pathlib import Path

import pytest

from sandbank.domain.errors import NotFoundError
from sandbank.runtime.driver import CLOSED
from sandbank.runtime.network.dial import dial
from sandbank.runtime.network.pool import Adopted, SlotPool
from sandbank.runtime.network.settings import NetworkSettings
from tests.integration.network.conftest import layout, traces
from tests.integration.network.name_server import query
from tests.integration.network.namespaces import Holder, make_namespaces
from tests.integration.network.traffic import Listener, udp, within


async def _until_free(pool: SlotPool, count: int) -> None:
    async with asyncio.timeout(60):
        while pool.free_count < count:
            await asyncio.sleep(0.05)


def _said(connection: socket.socket) -> bytes:
    with connection:
        select.select([connection], [], [], 5)
        return connection.recv(100)


async def test_services_on_loopback_are_dialled(pool: SlotPool) -> None:
    slot = await pool.acquire()
    listener = Listener(slot.netns_fd, "127.0.0.1", 8080)
    home = os.readlink("/proc/thread-self/ns/net")
    try:
        assert _said(dial(slot.netns_fd, "127.0.0.1", 8080)) == b"hello 127.0.0.1"
        with Path("/dev/null").open() as no_namespace, pytest.raises(OSError, match="setns"):
            dial(no_namespace.fileno(), "127.0.0.1", 8080)
        assert os.readlink("/proc/thread-self/ns/net") == home
    finally:
        listener.end()


async def test_a_released_slot_is_used_again_without_a_trace(pool: SlotPool) -> None:
    await _until_free(pool, 2)
    slots = [await pool.acquire(), await pool.acquire()]
    listener = Listener(slots[0].netns_fd, "127.0.0.1", 8080)
    assert _said(dial(slots[0].netns_fd, "127.0.0.1", 8080)) == b"hello 127.0.0.1"  # leaves a TIME_WAIT behind
    await pool.set_egress(slots[0], "one", CLOSED)
    listener.end()
    before = {slot.index for slot in slots}
    for slot in slots:
        await pool.release(slot)
    await _until_free(pool, 4)
    again = [await pool.acquire() for _ in range(4)]
    assert before <= {slot.index for slot in again}
    same = next(slot for slot in again if slot is slots[0])
    assert await within(same.netns_fd, Path("/proc/self/net/tcp").read_text) == _empty_table()
    assert await within(same.netns_fd, udp, "8.8.8.8", 53, query("a.test")) is not None


def _empty_table() -> str:
    return Path("/proc/self/net/tcp").read_text().splitlines()[0] + "\n"


async def test_a_slot_with_somebody_left_inside_is_destroyed(pool: SlotPool) -> None:
    slot = await pool.acquire()
    listener = Listener(slot.netns_fd, "127.0.0.1", 8080)
    await pool.release(slot)
    try:
        async with asyncio.timeout(20):
            while slot.netns_fd >= 0:
                await asyncio.sleep(0.05)
        assert slot.link_name not in traces()[0]
    finally:
        listener.end()


async def test_a_cancelled_acquire_leaves_nothing(pool: SlotPool) -> None:
    tasks = [asyncio.ensure_future(pool.acquire()) for _ in range(20)]
    await asyncio.sleep(0.02)
    for task in tasks[5:]:
        task.cancel()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) or one in tuple(pool._used.values()) for one in got)


async def test_three_hundred_at_once(pool: SlotPool) -> None:
    slots = await asyncio.gather(*(pool.acquire() for _ in range(300)))
    assert len({slot.index for slot in slots}) == 300
    assert len({slot.ip for slot in slots}) == 300
    for slot in slots[:200]:
        await pool.release(slot)


async def test_slots_outlive_the_service(clean: None, tmp_path: Path) -> None:
    holders: dict[int, Holder] = {}

    async def make_and_hold(base_uid: int) -> tuple[int, int]:
        holder = holders[base_uid] = Holder(base_uid)
        return holder.descriptors()

    settings = NetworkSettings(free_target=3)
    first = SlotPool(layout(tmp_path), make_and_hold, settings)
    await first.start({})
    kept, lost = await first.acquire(), await first.acquire()
    await first.set_egress(kept, "one", CLOSED)
    index, address = kept.index, kept.ip
    adopt = {index: Adopted(holders[kept.base_uid].pid, "one", CLOSED)}
    lost_link = lost.link_name
    await first.close()
    assert {kept.link_name, lost_link} <= traces()[0]

    second = SlotPool(layout(tmp_path), make_namespaces, settings)
    report = await second.start(adopt)
    try:
        assert lost_link in report.links_removed
        assert report.chains_removed >= 1
        slot = second.adopted(index)
        assert slot.ip == address
        with pytest.raises(NotFoundError):
            second.adopted(index + 500)
        listener = Listener(slot.netns_fd, "127.0.0.1", 8080)
        assert _said(dial(slot.netns_fd, "127.0.0.1", 8080)) == b"hello 127.0.0.1"
        listener.end()
        assert second._firewall._policies[index] == CLOSED
        others = [await second.acquire() for _ in range(5)]
        assert index not in {other.index for other in others}
    finally:
        await second.close(remove=True)
        for holder in holders.values():
            holder.end()
