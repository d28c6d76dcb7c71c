"""What the driver asks of the zygote to bring a sandbox back, as it travels between them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

# To a fork made ahead; descriptors: the request in a memory file, the socket that CRIU is to speak on, pipe for reports.
RESTORE = "restore"
# To another, while CRIU waits; descriptors: the request, the new mount, network, IPC and user namespaces, pipe for reports.
FURNISH = "furnish"

# Where the stage is mounted, in a mount namespace of each restore's own: whoever it is restored for can reach it, which homes are not for.
STAGE = "/run/sandbank-stage"
# What all users of one restored sandbox may have together; see `watches`.
INOTIFY_INSTANCES, INOTIFY_WATCHES = 512, 262_144
# Where CRIU finds its socket and, from `FIRST_FILE` on, the files that the frozen processes have mapped.
CRIU_SOCKET, FIRST_FILE = 3, 100


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """One sandbox to bring back. Paths are the node's; `files` are opened for CRIU in their order, from descriptor `FIRST_FILE` on."""

    criu: list[str]
    layers: list[str]
    upper: str
    join_cgroups: list[str]
    show_cgroups: dict[str, str]
    memory_bytes: int
    cpu_count: int
    processors: tuple[int, ...]
    base_uid: int
    files: list[str]
    boot_id: str  # empty: of a sandbox that was started when there was none
    volumes: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        """As it is put into the memory file."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(data: bytes) -> RestoreRequest:
        """The opposite of `encode`."""
        return RestoreRequest(**json.loads(data))
