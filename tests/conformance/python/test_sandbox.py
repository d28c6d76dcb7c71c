"""A sandbox's life: create, look, connect, timeouts, kill; and the errors users see on the way."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from e2b import (
    AuthenticationException,
    NotFoundException,
    Sandbox,
    SandboxException,
    SandboxNotFoundException,
    SandboxQuery,
    SandboxState,
    TimeoutException,
)

from tests.conformance.python.conftest import SandboxMaker
from tests.product.instance import Instance, wait_until

NOBODY = "i" + "0" * 19


def test_create_with_environment_and_metadata(make_sandbox: SandboxMaker) -> None:
    before = datetime.now(UTC)
    sandbox = make_sandbox(timeout=120, envs={"GREETING": "hello"}, metadata={"kind": "test", "spaced key": "ü & = +%"})
    assert re.fullmatch("i[a-z0-9]{19,20}", sandbox.sandbox_id)
    assert sandbox.commands.run("echo $GREETING").stdout == "hello\n"
    info = sandbox.get_info()
    assert (info.sandbox_id, info.name, info.state) == (sandbox.sandbox_id, "base", SandboxState.RUNNING)
    assert info.metadata == {"kind": "test", "spaced key": "ü & = +%"}
    assert before - timedelta(seconds=1) <= info.started_at <= datetime.now(UTC)
    assert abs((info.end_at - info.started_at) - timedelta(seconds=120)) < timedelta(seconds=1)
    assert info.cpu_count > 0
    assert info.memory_mb > 0
    assert re.match(r"\d+\.\d+\.\d+", info.envd_version)
    assert info.lifecycle == {"on_timeout": "kill", "auto_resume": False}


def test_default_timeout_is_five_minutes(server: Instance) -> None:
    sandbox = Sandbox.create()
    info = sandbox.get_info()
    assert abs((info.end_at - info.started_at) - timedelta(seconds=300)) < timedelta(seconds=1)
    assert sandbox.kill() is True


def test_first_version_of_create_needs_no_more_than_a_template(server: Instance) -> None:
    with httpx.Client(base_url=server.api_url, headers={"X-API-KEY": server.api_key}) as client:
        answer = client.post("/sandboxes", json={"templateID": "base"})
        assert answer.status_code == 201
        body = answer.json()
        assert {"templateID", "sandboxID", "clientID", "envdVersion"} <= body.keys()
        detail = client.get(f"/sandboxes/{body['sandboxID']}").json()
        length = datetime.fromisoformat(detail["endAt"]) - datetime.fromisoformat(detail["startedAt"])
        assert abs(length - timedelta(seconds=15)) < timedelta(seconds=1)
        assert client.delete(f"/sandboxes/{body['sandboxID']}").status_code == 204


def test_context_manager_kills(server: Instance) -> None:
    with Sandbox.create(timeout=60) as sandbox:
        assert sandbox.is_running() is True
    assert sandbox.is_running() is False


def test_connect_gives_the_same_sandbox_with_its_credentials(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    sandbox.files.write("/home/user/mark", "mine")
    again = Sandbox.connect(sandbox.sandbox_id)
    assert again.sandbox_id == sandbox.sandbox_id
    assert again.files.read("/home/user/mark") == "mine"


def test_connect_extends_and_never_shortens(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(timeout=200)
    end = sandbox.get_info().end_at
    sandbox.connect(timeout=20)
    assert sandbox.get_info().end_at == end
    sandbox.connect(timeout=1000)
    assert sandbox.get_info().end_at - end > timedelta(seconds=700)


def test_set_timeout_lengthens_and_shortens(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(timeout=60)
    sandbox.set_timeout(600)
    assert timedelta(seconds=590) < sandbox.get_info().end_at - datetime.now(UTC) <= timedelta(seconds=601)
    sandbox.set_timeout(30)
    assert timedelta(seconds=20) < sandbox.get_info().end_at - datetime.now(UTC) <= timedelta(seconds=31)


def test_sandbox_is_gone_soon_after_its_end(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(timeout=120)
    assert sandbox.is_running() is True
    sandbox.set_timeout(1)
    end = sandbox.get_info().end_at
    wait_until(lambda: not sandbox.is_running(), "the sandbox is evicted", seconds=5.0)
    assert datetime.now(UTC) >= end, "the sandbox died before its end"
    with pytest.raises(SandboxNotFoundException):
        sandbox.get_info()
    assert sandbox.kill() is False


def test_timeout_given_at_creation_is_kept(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(timeout=2)
    assert sandbox.is_running() is True
    wait_until(lambda: not sandbox.is_running(), "the sandbox is evicted", seconds=6.0)


def test_kill_removes_it_at_once(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(metadata={"killed": "at once"})
    assert sandbox.kill() is True
    query = SandboxQuery(metadata={"killed": "at once"}, state=[SandboxState.RUNNING])
    assert Sandbox.list(query=query).next_items() == []
    assert sandbox.is_running() is False
    assert sandbox.kill() is False


def test_kill_by_id(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    assert Sandbox.kill(sandbox.sandbox_id) is True
    assert Sandbox.kill(sandbox.sandbox_id) is False


def test_concurrent_kills_all_succeed(make_sandbox: SandboxMaker, server: Instance) -> None:
    sandbox = make_sandbox()
    codes: list[int] = []
    gate = threading.Barrier(5)

    def kill() -> None:
        with httpx.Client(base_url=server.api_url, headers={"X-API-KEY": server.api_key}) as client:
            client.get("/health")
            gate.wait()
            codes.append(client.delete(f"/sandboxes/{sandbox.sandbox_id}").status_code)

    threads = [threading.Thread(target=kill) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) <= {204, 404}
    assert 204 in codes


def test_kill_while_a_command_runs(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    handle = sandbox.commands.run("sleep 60", background=True)
    assert sandbox.kill() is True
    with pytest.raises(TimeoutException, match="killed or reached its end of life"):
        handle.wait()


def test_use_after_kill(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    sandbox.kill()
    with pytest.raises(TimeoutException, match="was not found"):
        sandbox.commands.run("true")
    with pytest.raises(TimeoutException, match="was not found"):
        sandbox.files.read("/etc/hostname")
    with pytest.raises(SandboxNotFoundException):
        sandbox.set_timeout(60)
    with pytest.raises(NotFoundException):
        Sandbox.connect(sandbox.sandbox_id)


def test_missing_sandbox(server: Instance) -> None:
    assert Sandbox.kill(NOBODY) is False
    with pytest.raises(NotFoundException, match="not found"):
        Sandbox.connect(NOBODY)
    with pytest.raises(NotFoundException, match=f"{NOBODY} not found"):  # the client's own words for a 404
        Sandbox.get_info(NOBODY)


def test_missing_template(server: Instance) -> None:
    with pytest.raises(SandboxException, match="not found"):
        Sandbox.create("no-such-template")


def test_wrong_key(server: Instance) -> None:
    with pytest.raises(AuthenticationException):
        Sandbox.create(api_key="e2b_" + "0" * 32)
    with pytest.raises(AuthenticationException):
        Sandbox.create(api_key="nonsense")


def test_timeouts_out_of_range(server: Instance) -> None:
    with pytest.raises(SandboxException, match="400: Timeout must be greater than 0"):
        Sandbox.create(timeout=0)
    with pytest.raises(SandboxException, match="400: Timeout cannot be greater than"):
        Sandbox.create(timeout=1000 * 3600)


def test_a_day_is_allowed(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(timeout=24 * 3600)
    info = sandbox.get_info()
    assert info.end_at - info.started_at >= timedelta(hours=23, minutes=59)


def test_without_internet_access(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(allow_internet_access=False)
    assert sandbox.get_info().allow_internet_access is False
    assert sandbox.commands.run("echo still works").stdout == "still works\n"


def test_envd_refuses_whoever_has_no_token(make_sandbox: SandboxMaker, server: Instance) -> None:
    sandbox = make_sandbox()
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983"}
    with httpx.Client(base_url=server.sandbox_url, headers=headers) as client:
        assert client.get("/files", params={"path": "/etc/hostname"}).status_code == 401
        assert client.post("/process.Process/List", json={}).status_code == 401
        assert client.get("/health").status_code == 204
        assert client.post("/init", json={"accessToken": "mine now"}).status_code == 404


def test_every_sandbox_is_a_fresh_one(make_sandbox: SandboxMaker) -> None:
    first = make_sandbox()
    first.commands.run("sudo touch /etc/mark /home/user/mark /tmp/mark; sudo rm /etc/motd")
    first.kill()
    second = make_sandbox()
    assert second.commands.run("ls -d /etc/mark /home/user/mark /tmp/mark 2>/dev/null | wc -l").stdout.strip() == "0"
    assert second.files.exists("/etc/motd") is True
