"""The states of a sandbox and which may follow which (REST contract §8.0)."""

from __future__ import annotations

import enum


class SandboxState(enum.StrEnum):
    """What the control plane knows of a sandbox. All but `PAUSED` have processes somewhere, and a record among the running ones."""

    RUNNING = "running"
    PAUSING = "pausing"
    SNAPSHOTTING = "snapshotting"
    KILLING = "killing"
    PAUSED = "paused"


_ALLOWED: dict[SandboxState, frozenset[SandboxState]] = {
    SandboxState.RUNNING: frozenset({SandboxState.PAUSING, SandboxState.KILLING, SandboxState.SNAPSHOTTING}),
    SandboxState.PAUSING: frozenset({SandboxState.KILLING}),
    SandboxState.SNAPSHOTTING: frozenset({SandboxState.RUNNING, SandboxState.KILLING, SandboxState.PAUSING}),
    SandboxState.KILLING: frozenset(),
    SandboxState.PAUSED: frozenset({SandboxState.KILLING}),
}

# After these the sandbox no longer runs, so nothing is left to extend.
TERMINAL = frozenset({SandboxState.PAUSING, SandboxState.KILLING})


def may_follow(current: SandboxState, target: SandboxState) -> bool:
    """Whether a sandbox in `current` may be asked to become `target`."""
    return target in _ALLOWED[current]


def public_state(state: SandboxState) -> str | None:
    """What clients see: `running` or `paused`; `None` where the sandbox already counts as gone."""
    if state is SandboxState.KILLING:
        return None
    return "paused" if state in (SandboxState.PAUSING, SandboxState.PAUSED) else "running"
