"""What somebody wants to be built (contract templates-and-data §1.2.2, data-plane §9.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

V1, V2_0, V2_1 = "v1.0.0", "v2.0.0", "v2.1.0"
"""Whose client asked; see contract templates-and-data §1.0."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction. `type` is in capitals."""

    type: str
    args: tuple[str, ...] = ()
    files_hash: str | None = None
    force: bool = False

    @property
    def text(self) -> str:
        """As logs show it."""
        return " ".join((self.type, *(arg for arg in self.args if arg)))


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """A recipe and where its result goes. It starts from `image`, from `base_build_id`, or from what was pushed under its name.

    `credentials` are the wire's, for the registry that `image` is in; `disk_mib` is what sandboxes may write besides the template's files.
    `scope` is whose files and layers may be used: the team.
    """

    template_id: str
    build_id: str
    team_id: str
    scope: str
    version: str
    vcpu: int
    memory_mib: int
    disk_mib: int
    image: str | None = None
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_alias: str = ""
    base_build_id: str | None = None
    steps: tuple[Step, ...] = ()
    start_command: str = ""
    ready_command: str = ""
    force: bool = False

    @property
    def source(self) -> str:
        """As logs show it."""
        if self.base_build_id is not None:
            return f"FROM TEMPLATE {self.base_alias or self.base_build_id}"
        return f"FROM {self.image or f'{self.template_id}:{self.build_id}'}"


def to_json(order: BuildOrder) -> dict[str, Any]:
    """For the node's disk."""
    return asdict(order)


def from_json(document: Mapping[str, Any]) -> BuildOrder:
    """The opposite; `KeyError`, `TypeError` or `ValueError` for anything else."""
    steps = tuple(Step(**{**step, "args": tuple(step["args"])}) for step in document["steps"])
    return BuildOrder(**{**document, "steps": steps})
