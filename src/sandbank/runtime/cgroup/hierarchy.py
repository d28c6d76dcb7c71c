"""Where this machine's cgroup controllers are mounted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "freezer")
_REQUIRED = ("memory", "cpu", "pids")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """`unified` is the mount of a version 2 hierarchy that has the controllers; otherwise `legacy` maps each to its version 1 mount."""

    unified: Path | None
    legacy: dict[str, Path]

    @property
    def missing(self) -> tuple[str, ...]:
        """Controllers that limits need and that are nowhere to be found."""
        return () if self.unified else tuple(name for name in _REQUIRED if name not in self.legacy)


def find_hierarchy(mountinfo: Path = Path("/proc/self/mountinfo")) -> Hierarchy:
    """Read the mounts. A version 2 hierarchy without controllers, as on hybrid machines, does not count."""
    legacy: dict[str, Path] = {}
    unified: Path | None = None
    for line in mountinfo.read_text(encoding="utf-8").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _source, options = rest.split(" ", 2)
        mount = Path(fields.split(" ")[4])
        if kind == "cgroup2" and unified is None:
            unified = mount
        elif kind == "cgroup":
            for name in options.split(","):
                if name in CONTROLLERS:
                    legacy.setdefault(name, mount)
    if unified is not None:
        available = (unified / "cgroup.controllers").read_text(encoding="ascii").split()
        if not all(name in available for name in _REQUIRED):
            unified = None
    return Hierarchy(unified, {} if unified else legacy)
