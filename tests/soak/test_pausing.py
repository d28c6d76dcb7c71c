"""One sandbox that many pause, resume and kill at once, and a service that is killed amid a pause (rest-api §8.0, §8.6–§8.8)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from e2b import Sandbox

from tests.product.instance import SEEDED_API_KEY, Instance, wait_until
from tests.product.inventory import sandbox_pids
from tests.product.processes import command_of, descendants, is_alive, kill_hard, service_pid
from tests.soak.test_races import settled

CLIENTS, CALLS = 20, 8
CRASHES = int(os.environ.get("SANDBANK_PAUSE_CRASHES", "2"))
SEED = int(os.environ.get("SANDBANK_PAUSE_SEED", "0")) or random.randrange(1, 1_000_000)

_COUNT = "i=0; while true; do i=$((i+1)); echo $i >> /home/user/count; sleep 0.02; done"
_WRITE = """
import os
number = 0
with open("/home/user/log", "ab", buffering=0) as log, open("/home/user/pages", "w+b", buffering=0) as pages:
    while True:
        number += 1
        pages.seek(number * 4096 % 40_000_000)
        pages.write(os.urandom(4096))
        log.write(b"%d\\n" % number)
"""
_ANSWERS = {
    "pause": {204, 409},
    "resume": {201, 409},
    "connect": {200, 201, 409},  # the latter after three pauses that it waited for
    "get": {200},
    "timeout": {204, 404, 409},  # of one that is paused nothing can be changed
    "kill": {204},
}


@pytest.fixture
def sandbox(server: Instance) -> Iterator[Sandbox]:
    """One that is killed after the test unless the test did."""
    made = Sandbox.create(timeout=900)
    yield made
    made.kill()


def _kept(server: Instance) -> set[str]:
    """Snapshots of sandboxes on the node's disk; those of templates stay."""
    names = {path.name for path in (server.data_dir / "sandboxes" / ".snapshots").glob("[!.]*")}
    return {name for name in names if not name.endswith("-start")}


async def _crowd(client: httpx.AsyncClient, sandbox_id: str, kinds: list[str]) -> tuple[Counter[tuple[str, int]], list[str]]:
    """What twenty clients were answered, and what of it is no answer of the contract's."""
    answers: Counter[tuple[str, int]] = Counter()
    faults: list[str] = []
    killed = False

    async def one(number: int) -> None:
        nonlocal killed
        chance = random.Random(SEED + number)
        for _ in range(CALLS):
            kind = chance.choice(kinds)
            method, path, body = {
                "pause": ("POST", "/pause", None),
                "resume": ("POST", "/resume", {"timeout": 300}),
                "connect": ("POST", "/connect", {"timeout": 300}),
                "get": ("GET", "", None),
                "timeout": ("POST", "/timeout", {"timeout": 400}),
                "kill": ("DELETE", "", None),
            }[kind]
            if kind == "kill":
                if chance.random() < 0.7:  # one of them, some time
                    continue
                killed = True
            answer = await client.request(method, f"/sandboxes/{sandbox_id}{path}", json=body)
            answers[kind, answer.status_code] += 1
            allowed = _ANSWERS[kind] | ({404, 409} if killed else set())
            if answer.status_code not in allowed:
                faults.append(f"{kind}: {answer.status_code} {answer.text}")

    await asyncio.gather(*(one(number) for number in range(CLIENTS)))
    return answers, faults


def _client(server: Instance) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.api_url, headers={"X-API-Key": SEEDED_API_KEY}, timeout=90, trust_env=False)


async def test_twenty_clients_that_pause_and_resume_one_sandbox_leave_it_whole(server: Instance, sandbox: Sandbox) -> None:
    async with _client(server) as client:
        counter = await asyncio.to_thread(sandbox.commands.run, _COUNT, background=True, timeout=0)
        answers, faults = await _crowd(client, sandbox.sandbox_id, ["pause", "pause", "resume", "connect", "get", "timeout"])
        assert faults == [], (SEED, answers)
        await asyncio.to_thread(Sandbox.connect, sandbox.sandbox_id, timeout=300)
        assert await settled(server, client) == {sandbox.sandbox_id}
        assert (await client.get(f"/sandboxes/{sandbox.sandbox_id}")).json()["state"] == "running"
        assert counter.pid in {process.pid for process in await asyncio.to_thread(sandbox.commands.list)}
        lines = [int(line) for line in (await asyncio.to_thread(sandbox.files.read, "count")).split("\n")[:-1]]
        assert lines == list(range(1, len(lines) + 1)), "it has gone on from an older state, or in two places"
        assert len(_kept(server)) <= 1
        assert await asyncio.to_thread(sandbox.kill) is True
        assert await settled(server, client) == set()


@pytest.mark.parametrize("turn", range(3))
async def test_twenty_clients_one_of_whom_kills_it_leave_nothing(server: Instance, sandbox: Sandbox, turn: int) -> None:
    async with _client(server) as client:
        answers, faults = await _crowd(client, sandbox.sandbox_id, ["pause", "pause", "resume", "connect", "connect", "get", "kill"])
        assert faults == [], (SEED, answers)
        assert (await client.delete(f"/sandboxes/{sandbox.sandbox_id}")).status_code in (204, 404)
        assert (await client.get(f"/sandboxes/{sandbox.sandbox_id}")).status_code == 404
        assert (await client.post(f"/sandboxes/{sandbox.sandbox_id}/connect", json={"timeout": 60})).status_code == 404
        assert await settled(server, client) == set()
        async with asyncio.timeout(20):
            while _kept(server) or sandbox_pids(server):  # what was saved is removed behind the answer
                await asyncio.sleep(0.1)


def _crash(server: Instance) -> None:
    """Every process of Sandbank's at once. What is a sandbox's lives, and CRIU, which runs as its owner and only ever ends by itself."""
    service, inside = service_pid(server), set(sandbox_pids(server))
    doomed = [pid for pid in (service, *descendants(service)) if pid not in inside]
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            kill_hard(pid)
    while is_alive(service):
        time.sleep(0.01)


@pytest.mark.parametrize("crash", range(CRASHES))
def test_all_that_was_acknowledged_is_there_after_a_crash_amid_a_pause(server: Instance, sandbox: Sandbox, crash: int) -> None:
    chance = random.Random(SEED + crash)
    sandbox.files.write("write.py", _WRITE)
    writer = sandbox.commands.run("exec python3 write.py", background=True, timeout=0)
    snapshots = server.data_dir / "sandboxes" / ".snapshots"
    acknowledged: dict[str, bytes] = {}
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            name, content = f"f{len(acknowledged)}", chance.randbytes(30_000)
            with contextlib.suppress(Exception):  # it stands still, or the service is dead
                sandbox.files.write(name, content, request_timeout=5)
                acknowledged[name] = content

    def pause() -> None:
        with contextlib.suppress(Exception):
            sandbox.pause(request_timeout=10)

    threads = [threading.Thread(target=write), threading.Thread(target=pause)]
    try:
        threads[0].start()
        time.sleep(0.5 + chance.random())
        threads[1].start()
        wait_until(lambda: any(snapshots.glob(".making-*")), "the pause is under way", every=0.002)
        time.sleep(chance.random() * 0.3)  # it takes as long
        _crash(server)
    finally:
        over.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    server.up()
    Sandbox.connect(sandbox.sandbox_id, timeout=600)
    assert acknowledged
    for name, content in acknowledged.items():
        assert sandbox.files.read(name, format="bytes") == content, f"{name} of {len(acknowledged)}, SANDBANK_PAUSE_SEED={SEED}"
    assert [process.pid for process in sandbox.commands.list()] == [writer.pid]
    before = int(sandbox.commands.run("tail -n 1 log").stdout)
    assert int(sandbox.commands.run("sleep 0.3; tail -n 1 log").stdout) > before, "the writer does not go on"
    gaps = sandbox.commands.run("head -n -1 log | awk '$1 != NR' | head").stdout
    assert gaps == ""
    assert sandbox.kill() is True
    wait = time.monotonic() + 20
    while sandbox_pids(server) or _kept(server):
        assert time.monotonic() < wait, ([command_of(pid) for pid in sandbox_pids(server)], _kept(server))
        time.sleep(0.1)
