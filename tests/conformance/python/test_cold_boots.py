"""Pauses and snapshots without memory by the official Python client (contract templates-and-data §2.5, sdk-latest)."""

from __future__ import annotations

import time

import httpx
import pytest
from e2b import Sandbox, SandboxState

from tests.conformance.python.conftest import SandboxMaker
from tests.product.instance import Instance

_LOOK = "cat /home/user/kept; echo $KEPT $E2B_SANDBOX_ID; pgrep -c sleep"


def _boot_id(sandbox: Sandbox) -> str:
    return sandbox.files.read("/proc/sys/kernel/random/boot_id")


def _work(sandbox: Sandbox) -> str:
    sandbox.commands.run("sleep 1000", background=True)
    sandbox.files.write("/home/user/kept", "file\n")
    return _boot_id(sandbox)


def _mode(sandbox: Sandbox) -> str | None:
    info = sandbox.get_info()
    assert info.state is SandboxState.PAUSED
    return getattr(info, "pause_mode", None)


def test_a_pause_of_files_alone_is_followed_by_a_boot(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(envs={"KEPT": "variable"})
    before = _work(sandbox)
    assert sandbox.pause(mode="filesystem") is True
    assert _mode(sandbox) in ("filesystem", None)
    assert sandbox.pause(mode="filesystem") is False
    Sandbox.connect(sandbox.sandbox_id)
    assert sandbox.commands.run(f"{_LOOK} || true").stdout == f"file\nvariable {sandbox.sandbox_id}\n0\n"
    assert _boot_id(sandbox) != before


def test_one_paused_with_memory_goes_on_or_reboots_as_its_client_wishes(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(envs={"KEPT": "variable"})
    before = _work(sandbox)
    sandbox.pause()
    Sandbox.connect(sandbox.sandbox_id)
    assert sandbox.commands.run(_LOOK).stdout.endswith("\n1\n")
    assert _boot_id(sandbox) == before
    sandbox.pause()
    Sandbox.connect(sandbox.sandbox_id, on_resume="reboot")
    assert sandbox.commands.run(f"{_LOOK} || true").stdout == f"file\nvariable {sandbox.sandbox_id}\n0\n"
    assert _boot_id(sandbox) != before


def test_at_its_end_files_alone_are_saved_and_traffic_does_not_wake_it(make_sandbox: SandboxMaker, server: Instance) -> None:
    sandbox = make_sandbox(timeout=3, lifecycle={"on_timeout": {"action": "pause", "mode": "filesystem"}})
    before = _work(sandbox)
    end = time.monotonic() + 30
    while sandbox.get_info().state is not SandboxState.PAUSED:
        assert time.monotonic() < end
        time.sleep(0.1)
    answer = httpx.get(f"{server.sandbox_url}/", headers={"Host": f"8000-{sandbox.sandbox_id}.localhost"})
    assert answer.status_code in (404, 502)
    assert sandbox.get_info().state is SandboxState.PAUSED
    Sandbox.connect(sandbox.sandbox_id)
    assert sandbox.files.read("/home/user/kept") == "file\n"
    assert _boot_id(sandbox) != before


def test_sandboxes_made_of_a_snapshot_of_files_boot(make_sandbox: SandboxMaker) -> None:
    origin = make_sandbox(envs={"KEPT": "variable"})
    before = _work(origin)
    taken = origin.create_snapshot(mode="filesystem")
    assert _boot_id(origin) == before
    copies = [make_sandbox(taken.snapshot_id) for _ in range(2)]
    try:
        for copy in copies:
            assert copy.commands.run(f"{_LOOK} || true").stdout == f"file\nvariable {copy.sandbox_id}\n0\n"
        assert len({before, *map(_boot_id, copies)}) == 3
        with pytest.raises(Exception, match="running sandboxes"):
            Sandbox.delete_snapshot(taken.snapshot_id)
    finally:
        for copy in copies:
            copy.kill()
    assert Sandbox.delete_snapshot(taken.snapshot_id)
