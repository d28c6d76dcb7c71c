"""Up, down, status and doctor as an operator meets them, with sandboxes behind them. Needs root."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

from e2b import Sandbox

from tests.product.instance import SEEDED_API_KEY, Instance, wait_until


def open_sandbox(instance: Instance) -> Sandbox:
    return Sandbox.create(timeout=300, api_key=SEEDED_API_KEY, api_url=instance.api_url, sandbox_url=instance.sandbox_url)


def reconnect(instance: Instance, sandbox_id: str) -> Sandbox:
    return Sandbox.connect(sandbox_id, api_key=SEEDED_API_KEY, api_url=instance.api_url, sandbox_url=instance.sandbox_url)


def list_code(api_key: str) -> int:
    connection = HTTPConnection("127.0.0.1", 25000, timeout=10)
    connection.request("GET", "/v2/sandboxes", headers={"X-API-Key": api_key})
    code = connection.getresponse().status
    connection.close()
    return code


def test_up_greets_and_prints_lines_to_paste(instance: Instance) -> None:
    text = instance.up()
    assert re.search(r"Hello! I am user on e2b\.local: Debian GNU/Linux 12", text)
    assert re.search(r"Created in \d+ ms", text)
    assert f"export E2B_API_KEY={SEEDED_API_KEY}" in text
    assert f"export E2B_API_URL=http://localhost:{instance.first_port}" in text
    state = instance.status()
    assert state["running"] is True
    assert state["healthy"] is True
    assert state["sandboxes"] == 0


def test_a_second_up_leaves_the_first_alone(instance: Instance) -> None:
    instance.up()
    pid = instance.status()["pid"]
    assert f"pid {pid}" in instance.up()
    in_the_foreground = instance.command("up")
    assert in_the_foreground.returncode == 1
    assert len(in_the_foreground.stderr.strip().splitlines()) == 1
    assert instance.status()["pid"] == pid


def test_down_ends_the_sandboxes_and_says_so_only_once(instance: Instance) -> None:
    instance.up()
    open_sandbox(instance)
    assert "Stopped." in instance.down()
    assert "Not running." in instance.down()
    assert instance.status()["running"] is False
    assert instance.command("status").returncode == 1


def test_kept_sandboxes_are_there_after_the_next_start(instance: Instance) -> None:
    instance.up()
    sandbox = open_sandbox(instance)
    handle = sandbox.commands.run("sleep 1000", background=True)
    assert instance.command("down", "--keep-sandboxes").returncode == 0
    assert "Already" not in instance.up()
    again = reconnect(instance, sandbox.sandbox_id)
    assert handle.pid in [process.pid for process in again.commands.list()]
    assert again.commands.run("echo still here").stdout == "still here\n"


def test_down_ends_what_a_killed_service_left(instance: Instance) -> None:
    instance.up()
    open_sandbox(instance)
    os.kill(instance.status()["pid"], signal.SIGKILL)
    wait_until(lambda: not instance.status()["running"], "the killed service counts as gone")
    assert "ended without" in instance.status()["problem"]
    assert "ended 1 sandboxes" in instance.down()


def test_a_taken_port_is_one_clear_line(instance: Instance) -> None:
    with socket.create_server(("127.0.0.1", instance.first_port + 2)):
        done = instance.command("up", "--detach")
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert str(instance.first_port + 2) in line
    assert "Traceback" not in done.stderr


def test_in_the_foreground_it_runs_until_a_signal(instance: Instance) -> None:
    program = Path(sys.executable).with_name("sandbank")
    with subprocess.Popen(
        [str(program), "up"], env=instance.service_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as up:
        assert up.stdout is not None
        seen = b""
        while b"sandbox.kill()" not in seen:
            chunk = os.read(up.stdout.fileno(), 65536)
            assert chunk, f"ended with {up.wait()} after {seen!r}"
            seen += chunk
        assert instance.status()["healthy"] is True
        up.send_signal(signal.SIGTERM)
        assert up.wait(timeout=60) == 0


def test_an_exposed_installation_has_keys_of_its_own(instance: Instance) -> None:
    first = instance.command("up", "--detach", "--bind", "0.0.0.0", timeout_seconds=120)
    assert first.returncode == 0, first.stderr
    credentials = json.loads((instance.data_dir / "credentials.json").read_text())
    assert (instance.data_dir / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert f"export E2B_API_KEY={credentials['api_key']}" in first.stdout
    assert SEEDED_API_KEY not in first.stdout
    assert list_code(SEEDED_API_KEY) == 401
    assert list_code(credentials["api_key"]) == 200
    instance.down()
    second = instance.command("up", "--detach", "--bind", "0.0.0.0", timeout_seconds=120)
    assert second.returncode == 0, second.stderr
    assert credentials["api_key"] not in second.stdout
    assert list_code(credentials["api_key"]) == 200


def test_doctor_finds_this_machine_fit(instance: Instance) -> None:
    done = instance.command("doctor", "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, findings
    assert {"kernel", "cgroups", "user namespaces", "overlay, idmapped", "seccomp", "nftables", "criu", "ports", "disk"} <= {
        finding["name"] for finding in findings
    }
    for finding in findings:
        assert finding["state"] == "ok" or (finding["costs"] and finding["fix"])
