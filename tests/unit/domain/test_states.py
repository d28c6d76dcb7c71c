"""The state table is the contract's."""

from __future__ import annotations

from sandbank.domain.states import SandboxState, may_follow, public_state


def test_killing_is_the_end() -> None:
    assert not any(may_follow(SandboxState.KILLING, target) for target in SandboxState)


def test_everything_else_may_be_killed() -> None:
    assert all(may_follow(state, SandboxState.KILLING) for state in SandboxState if state is not SandboxState.KILLING)


def test_a_paused_sandbox_does_not_come_back_as_running() -> None:
    assert not may_follow(SandboxState.PAUSING, SandboxState.RUNNING)


def test_what_clients_see() -> None:
    assert {state: public_state(state) for state in SandboxState} == {
        SandboxState.RUNNING: "running",
        SandboxState.PAUSING: "paused",
        SandboxState.SNAPSHOTTING: "running",
        SandboxState.KILLING: None,
        SandboxState.PAUSED: "paused",
    }
