"""What can be set about this driver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NamespaceSettings:
    """Defaults suit one machine; every number says its unit."""

    spawn_seconds: float = 10.0  # from the request to a ready agent; a create takes milliseconds unless the machine is overrun
    kill_seconds: float = 10.0  # until a killed sandbox's processes are gone; more means a process the kernel cannot end
    free_slots: int = 64  # prepared ahead, so that a burst of creates need not wait for links; 100 KiB of kernel memory each
    egress_ca_bundle: Path | None = None  # certificates (PEM) that servers of header rules may have, besides what the node trusts
    concurrent_spawns: int = 8  # sandboxes being forked at once; more only take turns on the same cores
    criu: Path | None = None  # the program that saves and brings back processes; without it nothing can be paused
    frozen_share: float = 0.0  # of the machine's memory, for paused sandboxes that stay in it until somebody wants it; 0 keeps none
    checkpoint_seconds: float = 300.0  # for CRIU to save or bring back one sandbox; more means that it hangs
