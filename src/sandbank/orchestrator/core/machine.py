"""What a node says of its machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Processor:
    """As `/proc/cpuinfo` names it; placement compares these before it moves memory snapshots."""

    architecture: str
    count: int
    family: str = ""
    model: str = ""
    model_name: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that sandboxes are written to."""

    mount_point: str
    device: str
    filesystem_type: str
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class MachineLoad:
    """One sample. `cpu_percent` is the average of the whole machine since the sample before, 0 to 100."""

    cpu_percent: int
    memory_used_bytes: int
    memory_total_bytes: int
    disk: Disk
