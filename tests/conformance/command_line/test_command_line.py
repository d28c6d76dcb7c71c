"""`up`, `status` and `doctor`, and the clear single lines when something is wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
from e2b import Sandbox

from tests.product.instance import SEEDED_ACCESS_TOKEN, SEEDED_API_KEY, Instance
from tests.product.processes import is_alive, service_pid


def one_line(text: str) -> str:
    """The text, which must be a single line without a traceback."""
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1, text
    return text.strip()


def test_status_tells_what_runs(server: Instance) -> None:
    before = server.status()
    assert (before["running"], before["healthy"]) == (True, True)
    assert before["pid"] == service_pid(server)
    assert is_alive(before["pid"])
    with Sandbox.create(timeout=60):
        assert server.status()["sandboxes"] == before["sandboxes"] + 1
    assert server.command("status").returncode == 0


def test_up_again_leaves_the_running_one_alone(server: Instance) -> None:
    pid = service_pid(server)
    with Sandbox.create(timeout=60) as sandbox:
        assert f"pid {pid}" in one_line(server.up())
        assert service_pid(server) == pid
        assert sandbox.is_running() is True


def test_ports_that_are_taken_are_named(server: Instance, tmp_path: Path) -> None:
    other = dataclasses.replace(server, name="sbu", data_dir=tmp_path / "data", run_dir=tmp_path / "run")
    done = other.command("up", "--detach")
    assert done.returncode == 1
    assert str(server.first_port) in one_line(done.stderr)


def test_who_is_not_root_is_told(server: Instance) -> None:
    program = str(Path(sys.executable).with_name("sandbank"))
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "up", "--detach"]
    done = subprocess.run(command, env=server.service_environment(), capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert done.returncode == 1
    assert "root" in one_line(done.stderr)


def test_down_of_what_does_not_run_is_fine(server: Instance, tmp_path: Path) -> None:
    other = dataclasses.replace(server, name="sbu", data_dir=tmp_path / "data", run_dir=tmp_path / "run")
    done = other.command("down")
    assert done.returncode == 0
    assert other.command("status").returncode == 1
    assert other.status()["running"] is False


def test_doctor_says_of_every_want_what_it_costs_and_how_to_mend_it(server: Instance) -> None:
    done = server.command("doctor", "--json")
    report = json.loads(done.stdout)
    checks = report["checks"] if isinstance(report, dict) else report
    assert len(checks) >= 8
    names = " ".join(json.dumps(check).lower() for check in checks)
    for subject in ("kernel", "cgroup", "user namespaces", "overlay", "nftables", "criu", "ports", "disk"):
        assert subject in names, f"nothing about {subject}"
    text = server.command("doctor").stdout
    assert text.count("costs:") == text.count("fix:") == len(re.findall(r"^(?:warn|fail)", text, re.MULTILINE))


def test_nothing_listens_beyond_loopback(server: Instance) -> None:
    wanted = {server.first_port, server.first_port + 1, server.first_port + 2, server.first_port + 2007, server.first_port + 2008}
    rows = [line.split() for path in ("/proc/net/tcp", "/proc/net/tcp6") for line in Path(path).read_text().splitlines()[1:]]
    listening = [row[1].split(":") for row in rows if row[3] == "0A"]
    found = {int(port, 16): address for address, port in listening if int(port, 16) in wanted}
    assert found.keys() == wanted
    loopback = {"0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, ::1, ::ffff:127.0.0.1
    assert set(found.values()) <= loopback


def test_seeded_credentials_work_here(server: Instance) -> None:
    assert httpx.get(f"{server.api_url}/sandboxes", headers={"X-API-KEY": SEEDED_API_KEY}).status_code == 200
    assert httpx.get(f"{server.api_url}/health").status_code == 200
    teams = httpx.get(f"{server.api_url}/teams", headers={"Authorization": f"Bearer {SEEDED_ACCESS_TOKEN}"})
    assert teams.status_code in {200, 404}, "either listed, or not there yet; never refused"


def test_files_of_the_installation_are_for_root_alone(server: Instance) -> None:
    for directory in (server.data_dir, server.run_dir):
        assert os.stat(directory).st_mode & 0o077 == 0, directory


def test_errors_have_the_shape_clients_parse(server: Instance) -> None:
    headers = {"X-API-KEY": SEEDED_API_KEY}
    for method, path, body, status in (
        ("GET", "/sandboxes/NOT-AN-ID", None, 400),
        ("GET", f"/sandboxes/{'i' + '0' * 19}", None, 404),
        ("POST", "/sandboxes", "not json", 400),
        ("POST", "/sandboxes", {"timeout": 5}, 400),
        ("POST", "/v2/sandboxes", {"templateID": "base", "timeout": "soon"}, 400),
        ("GET", "/no/such/route", None, 404),
    ):
        content = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        answer = httpx.request(method, server.api_url + path, headers={**headers, "Content-Type": "application/json"}, content=content)
        assert (answer.status_code, answer.json()["code"]) == (status, status), f"{method} {path}: {answer.text}"
        assert isinstance(answer.json()["message"], str)
