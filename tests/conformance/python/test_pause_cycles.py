"""Files and memory through any number of pauses, resumes, forks and snapshots in any mixture (issue: users lost data on the second).

`SANDBANK_PAUSE_CYCLES` says how many of them, `SANDBANK_PAUSE_SEED` which; a failure names its seed.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from e2b import Sandbox, SandboxState

from tests.conformance.python.conftest import SandboxMaker
from tests.product.instance import Instance, wait_until

CYCLES = int(os.environ.get("SANDBANK_PAUSE_CYCLES", "12"))
SEED = int(os.environ.get("SANDBANK_PAUSE_SEED", "0")) or random.randrange(1, 1_000_000)
_GUEST = Path(__file__).parents[1] / "guest"
_PORT = 8000
_NAMES = 6
_SUM = "cd /home/user/kept && find . -type f -exec sha256sum {} +; cd /dev/shm && find . -type f -name 'm*' -exec sha256sum {} +"


@dataclass(eq=False)
class Modelled:
    """A sandbox, and what must be in its files, in its tmpfs and in the memory of its process."""

    server: Instance
    sandbox: Sandbox
    chance: random.Random
    files: dict[str, str] = field(default_factory=dict)
    memory: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, content: bytes = b"") -> dict[str, str]:
        """To the process inside; wakes a paused sandbox as any traffic does."""
        routing = {"E2b-Sandbox-Id": self.sandbox.sandbox_id, "E2b-Sandbox-Port": str(_PORT)}
        with httpx.Client(timeout=60, trust_env=False, headers=routing) as client:
            answer = client.request(method, f"{self.server.sandbox_url}{path}", content=content)
        assert answer.status_code == 200, answer.text
        said: dict[str, str] = answer.json()
        return said

    def write(self) -> None:
        """One change to something."""
        kind = self.chance.choice(("file", "append", "remove", "rename", "tmpfs", "memory", "memory", "forget"))
        name = f"m{self.chance.randrange(_NAMES)}"
        content = self.chance.randbytes(self.chance.choice((0, 1, 4096, 70_000, 700_000)))
        kept = f"/home/user/kept/{name}"
        if kind == "file":
            self.sandbox.files.write(kept, content)
            self.files[name] = _hash(content)
        elif kind == "append":
            # In place, by a process inside: what is changed of an old file, and not only replaced, is what snapshots share.
            self.sandbox.commands.run(f"echo {content[:20].hex()} >> {kept}; sha256sum {kept} > /tmp/sum")
            self.files[name] = self.sandbox.files.read("/tmp/sum").split()[0]
        elif kind == "remove":
            self.sandbox.commands.run(f"rm -f {kept}")
            self.files.pop(name, None)
        elif kind == "rename" and name in self.files:
            self.sandbox.commands.run(f"mv {kept} /home/user/kept/other")
            self.files["other"] = self.files.pop(name)
        elif kind == "tmpfs":
            self.sandbox.files.write(f"/dev/shm/{name}t", content, user="root")
            self.files[f"{name}t"] = _hash(content)
        elif kind == "memory":
            self.request("PUT", f"/{name}", content)
            self.memory[name] = _hash(content)
        else:
            self.request("DELETE", f"/{name}")
            self.memory.pop(name, None)

    def check(self) -> None:
        """All of it."""
        lines = self.sandbox.commands.run(_SUM, user="root").stdout.splitlines()
        assert {name.removeprefix("./"): found for found, name in (line.split() for line in lines)} == self.files
        assert self.request("GET", "/") == self.memory

    def pause(self) -> None:
        """By its client, or at its end."""
        if self.chance.random() < 0.5:
            assert self.sandbox.pause() is True
            return
        self.sandbox.set_timeout(0)
        wait_until(lambda: self.sandbox.get_info().state is SandboxState.PAUSED, "it is paused at its end", seconds=30)

    def wake(self) -> None:
        """By its client, by a visitor, by a command to its agent."""
        kind = self.chance.choice(("connect", "traffic", "agent"))
        if kind == "traffic":
            assert self.request("GET", "/") == self.memory  # also amid the pause: it may be asked twice
        elif kind == "agent":
            self.sandbox.pause()  # until it is over: what is under way when a pause begins, and may not be repeated, is cut
            assert self.sandbox.commands.run("echo woken").stdout == "woken\n"
        Sandbox.connect(self.sandbox.sandbox_id, timeout=600)

    def twin(self, sandbox: Sandbox) -> Modelled:
        """Another sandbox with the same in it, to begin with."""
        return Modelled(self.server, sandbox, self.chance, dict(self.files), dict(self.memory))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _kept(server: Instance) -> set[str]:
    """Snapshots on the node's disk."""
    return {path.name for path in (server.data_dir / "sandboxes" / ".snapshots").glob("*")}


def _branch(one: Modelled, snapshots: list[str]) -> Modelled:
    """A fork, or one that is made of a snapshot taken now."""
    if one.chance.random() < 0.5:
        (fork,) = one.sandbox.fork(timeout=600)
        assert isinstance(fork, Sandbox), fork
        return one.twin(fork)
    snapshot = one.sandbox.create_snapshot()
    snapshots.append(snapshot.snapshot_id)
    at_that_time = one.twin(one.sandbox)
    one.write()  # is not in it
    made = Sandbox.create(snapshot.snapshot_id, timeout=600, lifecycle={"on_timeout": "pause", "auto_resume": True})
    return at_that_time.twin(made)


def test_files_and_memory_survive_any_mixture_of_cycles(server: Instance) -> None:
    chance = random.Random(SEED)
    sandbox = Sandbox.create(timeout=600, lifecycle={"on_timeout": "pause", "auto_resume": True})
    living, before = [Modelled(server, sandbox, chance)], _kept(server)
    steps: list[str] = []
    snapshots: list[str] = []
    try:
        sandbox.files.write("/home/user/keeper.py", (_GUEST / "keeper.py").read_text())
        sandbox.commands.run(f"mkdir kept; setsid python3 keeper.py {_PORT} > /tmp/keeper 2>&1 &")
        routing = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(_PORT)}
        wait_until(lambda: httpx.get(server.sandbox_url, headers=routing, trust_env=False).status_code == 200, "it listens")
        for _ in range(CYCLES):
            one = chance.choice(living)
            for _ in range(chance.randrange(5)):
                one.write()
            if chance.random() < 0.25:
                steps.append("branch")
                living.append(_branch(one, snapshots))
                if len(living) > 3:  # any of them: what others were made of must not be missed
                    living.pop(chance.randrange(3)).sandbox.kill()
            else:
                steps.append("cycle")
                one.pause()
                one.wake()
            if one in living:
                one.check()
        for one in living:
            one.check()
    except BaseException as error:
        error.add_note(f"SANDBANK_PAUSE_SEED={SEED}, steps {len(steps)}: {' '.join(steps)}")
        raise
    finally:
        for one in living:
            one.sandbox.kill()
        for snapshot_id in snapshots:
            Sandbox.delete_snapshot(snapshot_id)
    wait_until(lambda: _kept(server) <= before, "no snapshot is left that nobody can have")


def test_a_heap_that_is_hashed_all_the_time_is_never_another(make_sandbox: SandboxMaker) -> None:
    chance = random.Random(SEED)
    sandbox = make_sandbox(timeout=600)
    sandbox.files.write("/home/user/mirrors.py", (_GUEST / "mirrors.py").read_text())
    sandbox.commands.run("setsid python3 mirrors.py 20000000 /tmp/rounds > /tmp/said 2>&1 &")
    wait_until(lambda: sandbox.files.exists("/tmp/rounds"), "it begins", seconds=30)
    rounds = 0
    for number in range(CYCLES):
        time.sleep(chance.random() * 0.2)  # at any moment of a round
        sandbox.pause()
        Sandbox.connect(sandbox.sandbox_id, timeout=600)
        assert sandbox.files.read("/tmp/said") == "", f"cycle {number}, SANDBANK_PAUSE_SEED={SEED}"
        if number % 5 == 0:
            before = rounds
            wait_until(lambda before=before: int(sandbox.files.read("/tmp/rounds")) > before, "it goes on", seconds=30)  # type: ignore[misc]
            rounds = int(sandbox.files.read("/tmp/rounds"))
    rounds = int(sandbox.files.read("/tmp/rounds"))
    wait_until(lambda: int(sandbox.files.read("/tmp/rounds")) > rounds, "it goes on", seconds=30)
    assert sandbox.files.read("/tmp/said") == ""
