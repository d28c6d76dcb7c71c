"""A template as sandboxes are made from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Template:
    """A ready build of a template that the caller may use. Sizes in MiB."""

    template_id: str
    build_id: str
    alias: str | None
    vcpu: int
    ram_mb: int
    disk_mb: int
    envd_version: str
    kernel_version: str = ""
    firecracker_version: str = ""
    snapshot_node_id: str | None = None  # of a snapshot: the node that has it
    origin_node_id: str | None = None  # the node that has it for certain, where that matters
