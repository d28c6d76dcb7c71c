"""Logs of real sandboxes, some of them hostile, through the whole product to Loki and back (rest-api §13, data-plane §12.5)."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from e2b import CommandExitException, Sandbox

from tests.product.instance import Instance, wait_until
from tests.product.loki import Loki
from tests.product.processes import kill_hard, service_pid

PUSH = """
import socket, sys
def push(data, wait=True):
    with socket.create_connection(("127.0.0.1", 49982), timeout=20) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            return peer.recv(1) if wait else b""
        except OSError as error:
            return repr(error).encode()
"""


def program(sandbox: Sandbox, text: str) -> str:
    """A command that runs `text`, which can `push`."""
    sandbox.files.write("/tmp/program.py", PUSH + text)
    return "python3 /tmp/program.py"


def page(api: httpx.Client, sandbox_id: str, **parameters: Any) -> list[dict[str, Any]]:
    answer = api.get(f"/v2/sandboxes/{sandbox_id}/logs", params={"direction": "forward", **parameters})
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["logs"]
    return entries


def until_logged(api: httpx.Client, sandbox_id: str, search: str, count: int = 1) -> list[dict[str, Any]]:
    wait_until(lambda: len(page(api, sandbox_id, search=search)) >= count, f"{search!r} is in the log", every=0.1, seconds=20)
    return page(api, sandbox_id, search=search)


def test_a_process_has_a_line_at_its_start_and_at_its_end(api: httpx.Client) -> None:
    """data-plane §5.3: command, pid and byte counters, and nothing of environment or streams."""
    with Sandbox.create(timeout=60) as sandbox:
        with pytest.raises(CommandExitException):
            sandbox.commands.run("printf secretout; printf four >&2; exit 3", envs={"TOKEN": "secretenv"})
        (end,) = until_logged(api, sandbox.sandbox_id, "ended: exit status 3")
        (start,) = page(api, sandbox.sandbox_id, search=f"pid {end['fields']['pid']} started")
    assert (start["fields"]["event_type"], end["fields"]["event_type"]) == ("process_start", "process_end")
    assert start["fields"]["operation_id"] == end["fields"]["operation_id"]
    assert "exit 3" in start["fields"]["command"]
    assert (end["fields"]["stdout_bytes"], end["fields"]["stderr_bytes"], end["fields"]["exit_code"]) == ("9", "4", "3")
    assert "secretenv" not in json.dumps([start, end])


def test_requests_are_told_without_queries(api: httpx.Client) -> None:
    with Sandbox.create(timeout=60) as sandbox:
        sandbox.files.write("/tmp/very-private-name", "x")
        (entry,) = until_logged(api, sandbox.sandbox_id, "POST /files 200")
        assert (entry["level"], entry["fields"]["logger"], entry["fields"]["event_type"]) == ("debug", "files", "request")
        assert "private" not in json.dumps(page(api, sandbox.sandbox_id))
        assert page(api, sandbox.sandbox_id, search="POST /files", level="info") == []


def test_both_versions_agree_and_directions_are_each_others_reverse(api: httpx.Client) -> None:
    with Sandbox.create(timeout=60) as sandbox:
        for _ in range(3):
            sandbox.commands.run("true")
        until_logged(api, sandbox.sandbox_id, "ended", 3)
        forward = page(api, sandbox.sandbox_id)
        backward = page(api, sandbox.sandbox_id, direction="backward")
        first = api.get(f"/sandboxes/{sandbox.sandbox_id}/logs").json()
    assert [entry["timestamp"] for entry in forward] == [entry["timestamp"] for entry in reversed(backward)]
    assert first["logEntries"] == forward
    assert [line["timestamp"] for line in first["logs"]] == [entry["timestamp"] for entry in forward]
    for line in first["logs"]:
        assert {"level", "message", "logger", "timestamp"} <= json.loads(line["line"]).keys()


def test_parameters_beyond_the_contract_are_refused(api: httpx.Client) -> None:
    for query in ("limit=1001", "limit=-1", "direction=up", "level=loud", "cursor=-1", "cursor=x", "search=" + "x" * 257):
        answer = api.get(f"/v2/sandboxes/iabcdefghijklmnopqrst/logs?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, 400), query
    for query in ("limit=-1", "start=-1", "start=x"):
        assert api.get(f"/sandboxes/iabcdefghijklmnopqrst/logs?{query}").status_code == 400, query
    for query in ("limit=0", f"cursor={2**63 - 1}", "start=0"):
        assert api.get(f"/v2/sandboxes/iabcdefghijklmnopqrst/logs?direction=forward&{query}").json() == {"logs": []}, query


def test_an_unknown_sandbox_has_an_empty_log(api: httpx.Client) -> None:
    assert api.get("/sandboxes/iabcdefghijklmnopqrst/logs").json() == {"logs": [], "logEntries": []}
    assert api.get("/v2/sandboxes/iabcdefghijklmnopqrst/logs").json() == {"logs": []}
    assert api.get("/sandboxes/not an id/logs").status_code == 400
    assert httpx.get(f"{api.base_url}/sandboxes/iabcdefghijklmnopqrst/logs").status_code == 401


def test_a_log_outlives_its_sandbox(api: httpx.Client) -> None:
    with Sandbox.create(timeout=60) as sandbox:
        sandbox.commands.run("true")
        until_logged(api, sandbox.sandbox_id, "ended")
    assert page(api, sandbox.sandbox_id, search="ended")


def test_labels_are_those_of_the_contract(api: httpx.Client, loki: Loki) -> None:
    """templates §5.3."""
    with Sandbox.create(timeout=60) as sandbox:
        sandbox.commands.run("true")
        until_logged(api, sandbox.sandbox_id, "ended")
    labels = [stream for stream, _, _ in loki.entries if stream["sandboxID"] == sandbox.sandbox_id]
    assert {frozenset(stream) for stream in labels} == {
        frozenset({"source", "service", "teamID", "envID", "buildID", "sandboxID", "category"})
    }
    assert {stream["source"] for stream in labels} == {"logs-collector"}


def test_what_a_sandbox_says_of_itself_is_not_believed(api: httpx.Client, loki: Loki) -> None:
    """data-plane §11.4."""
    with Sandbox.create(timeout=60) as hostile, Sandbox.create(timeout=60) as victim:
        forged = {
            "message": "forged-line",
            "sandboxID": victim.sandbox_id,
            "instanceID": victim.sandbox_id,
            "teamID": "other",
            "service": "template-manager",
            "category": "metrics",
            "timestamp": "1999-01-01T00:00:00Z",
        }
        hostile.commands.run(program(hostile, f"print(push({json.dumps(forged).encode()!r} + b'\\n'))"))
        (entry,) = until_logged(api, hostile.sandbox_id, "forged-line")
        assert page(api, victim.sandbox_id, search="forged-line") == []
    assert not entry["timestamp"].startswith("1999")
    assert (entry["fields"]["service"], entry["fields"]["sandboxID"]) == ("envd", hostile.sandbox_id)


def test_the_port_for_lines_is_closed_to_traffic(server: Instance, api: httpx.Client) -> None:
    """Traffic needs no key by default: a stranger must not write into a sandbox's log."""
    with Sandbox.create(timeout=60) as sandbox:
        headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49982"}
        answer = httpx.post(server.sandbox_url, headers=headers, content=b'\n{"message":"from-outside"}\n', timeout=30)
        assert answer.status_code == 502
        sandbox.commands.run("true")
        until_logged(api, sandbox.sandbox_id, "ended")
        everything = json.dumps(page(api, sandbox.sandbox_id))
    assert "from-outside" not in everything
    assert "refused" not in everything


def test_garbage_and_endless_lines_do_no_harm(api: httpx.Client) -> None:
    with Sandbox.create(timeout=60) as sandbox:
        garbage = "import os\npush(os.urandom(60000) + b'\\n')\npush(b'x' * (1 << 20))\npush(b'{\"message\":\"still-here\"}\\n')"
        sandbox.commands.run(program(sandbox, garbage))
        until_logged(api, sandbox.sandbox_id, "still-here")
        (notice,) = until_logged(api, sandbox.sandbox_id, "Log lines were refused")[:1]
        assert (notice["level"], notice["fields"]["service"]) == ("warn", "orchestrator")


def test_a_flood_is_held_back_and_the_other_sandboxes_logs_go_on(api: httpx.Client, loki: Loki) -> None:
    flood = 'import threading\nline = b\'{"message":"flood"}\\n\' * 3000\n'
    flood += "def run():\n    while True:\n        push(line)\nfor _ in range(8):\n    threading.Thread(target=run).start()\n"
    with Sandbox.create(timeout=60) as hostile, Sandbox.create(timeout=60) as other:
        command = hostile.commands.run(program(hostile, flood), background=True, timeout=60)
        wait_until(lambda: bool(page(api, hostile.sandbox_id, search="flood", limit=1)), "the flood has begun", every=0.1)
        began = time.monotonic()
        before = len(loki.lines(sandboxID=hostile.sandbox_id))
        for number in range(5):
            other.commands.run(f"echo other-{number}")
        until_logged(api, other.sandbox_id, "ended", 5)
        wait_until(lambda: time.monotonic() - began > 2, "the flood went on for a while", every=0.1)
        taken, seconds = len(loki.lines(sandboxID=hostile.sandbox_id)) - before, time.monotonic() - began
        assert taken < 6000 + 1000 * seconds, f"{taken} lines in {seconds:.1f} s"
        command.kill()


def test_a_killed_service_loses_at_most_what_was_in_flight_and_goes_on(server: Instance, api: httpx.Client) -> None:
    with Sandbox.create(timeout=120) as sandbox:
        sandbox.commands.run("echo before")
        until_logged(api, sandbox.sandbox_id, "ended")
        ticking = sandbox.commands.run("sleep 1000", background=True)
        kill_hard(service_pid(server))
        server.up()
        ticking = sandbox.commands.connect(ticking.pid)
        ticking.kill()
        until_logged(api, sandbox.sandbox_id, "ended: signal: killed")
        assert page(api, sandbox.sandbox_id, search="ended: exit status 0")


def test_lines_wait_while_loki_is_down(api: httpx.Client, loki: Loki) -> None:
    with Sandbox.create(timeout=60) as sandbox:
        with loki.lock:
            loki.failures += [503, 429]
        sandbox.commands.run("true")
        wait_until(lambda: not loki.failures, "both failures were met", every=0.1, seconds=20)
        until_logged(api, sandbox.sandbox_id, "ended")


def test_a_loki_that_fails_looks_like_an_empty_log(api: httpx.Client, loki: Loki) -> None:
    """templates §5.5."""
    answers = []
    for _ in range(20):  # a push may take one of the failures
        with loki.lock:
            loki.failures += [500]
        answers.append(api.get("/v2/sandboxes/iabcdefghijklmnopqrst/logs"))
    with loki.lock:
        loki.failures.clear()
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, '{"logs":[]}')}
