"""A volume in a sandbox."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """Which volume, what its team calls it, and where it is inside."""

    volume_id: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class VolumeFileTarget:
    """A path in a volume, and what it takes to find the volume."""

    volume_id: str
    kind: str
    team_id: str
    path: str
