"""What the driver asks of the zygote, as it travels between them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

# Requests are one datagram each: an operation, and its descriptors beside it.
MAKE_NAMESPACES = "make-namespaces"  # text: the base uid; descriptors: a socket to answer on
PREPARE = "prepare"  # descriptors: a socket; its fork waits there for one datagram and ends when the socket closes without
SPAWN = "spawn"  # to such a fork; descriptors: the request in a memory file, user namespace, network namespace, pipe for reports

# Command names of a zygote's forks: what they are born with, and what pid 1 of a sandbox calls itself.
ZYGOTE_NAME, INIT_NAME = "sandbank-zygote", "sandbank-init"
FORK_NAMES = (ZYGOTE_NAME, INIT_NAME)


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """One sandbox to fork. Paths are the node's; `processors` are those to stay on, none for all; `agent` is envd's `AgentConfig`."""

    sandbox_id: str
    stage: str
    layers: list[str]
    upper: str
    join_cgroups: list[str]
    show_cgroups: dict[str, str]
    hostname: str
    shared_memory_bytes: int
    memory_bytes: int
    cpu_count: int
    processors: tuple[int, ...]
    agent: dict[str, object]
    boot_id: str
    volumes: list[tuple[str, str]] = field(default_factory=list)  # directory on the node, path inside

    def encode(self) -> bytes:
        """As it is put into the memory file."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(data: bytes) -> SpawnRequest:
        """The opposite of `encode`."""
        return SpawnRequest(**json.loads(data))
