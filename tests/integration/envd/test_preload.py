"""Nothing is imported, and nothing of the host opened, once the agent has been warmed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.integration.envd.driving import Agent, bash, output, running_agent, seal, text

ALLOWED = ("/etc/passwd", "/etc/group", "/etc/hosts", "/proc/", "/run/e2b/", "/sys/fs/cgroup", "/sys/fs/quota", "/dev/null")


def exercise_processes(agent: Agent) -> None:
    assert output(agent.stream("process.Process/Start", bash("echo $FOO"))) == b"bar\n"
    assert b"2" in output(agent.stream("process.Process/Start", {**bash("stty size"), "pty": {"size": {"cols": 9, "rows": 2}}}), "pty")
    agent.stream("process.Process/Start", {"process": {"cmd": "pwd", "cwd": "/missing"}})
    agent.stream("process.Process/Start", bash("true"), authorization="Basic bm9ib2R5Og==")
    with agent.open_stream("process.Process/Start", {"process": {"cmd": "cat"}, "tag": "cat"}, keepalive_ping_interval="1") as stream:
        pid = stream.next()["event"]["start"]["pid"]
        selector = {"process": {"pid": pid}}
        agent.call("process.Process/List", {})
        agent.call("process.Process/SendInput", {**selector, "input": {"stdin": text(b"x" * 200_000)}})
        messages = seal({"start": selector}) + seal({"data": {"input": {"stdin": text(b"y")}}})
        agent.request("POST", "/process.Process/StreamInput", messages, {"content-type": "application/connect+json"})
        agent.call("process.Process/Update", {**selector, "pty": {"size": {"cols": 1, "rows": 1}}})
        agent.call("process.Process/CloseStdin", selector)
        assert any("end" in event.get("event", {}) for event in stream)
    agent.stream("process.Process/Connect", {"process": {"tag": "cat"}})
    agent.stream("process.Process/Start", bash("sleep 9"), connect_timeout_ms="50")
    with agent.open_stream("process.Process/Start", bash("sleep 9"), keepalive_ping_interval="1") as stream:
        pid = stream.next()["event"]["start"]["pid"]
        stream.next()
        agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGTERM"})


def exercise_filesystem(agent: Agent, root: Path) -> None:
    path = str(root / "tree")
    agent.call("filesystem.Filesystem/MakeDir", {"path": f"{path}/ä"})
    _, created = agent.call("filesystem.Filesystem/CreateWatcher", {"path": path, "recursive": True, "includeEntry": True})
    with agent.open_stream("filesystem.Filesystem/WatchDir", {"path": path, "recursive": True}) as stream:
        stream.next()
        agent.request(
            "POST",
            f"/files?path={path}/a.txt",
            gzip.compress(b"hello"),
            {"content-type": "application/octet-stream", "content-encoding": "gzip", "x-metadata-k": "v"},
        )
        assert stream.next()["filesystem"]["name"] == "a.txt"
    (root / "tree" / "link").symlink_to("a.txt")
    agent.call("filesystem.Filesystem/GetWatcherEvents", created)
    agent.call("filesystem.Filesystem/RemoveWatcher", created)
    agent.call("filesystem.Filesystem/ListDir", {"path": path, "depth": 3})
    agent.call("filesystem.Filesystem/Stat", {"path": f"{path}/missing"})
    agent.call("filesystem.Filesystem/Move", {"source": f"{path}/a.txt", "destination": "/dev/shm/envd-preload/b.txt"})
    agent.call("filesystem.Filesystem/Move", {"source": "/dev/shm/envd-preload", "destination": f"{path}/moved"})
    for name in ("x", "y"):
        agent.request("POST", f"/files?path={path}/{name}", b"part", {"content-type": "application/octet-stream"})
    order = json.dumps({"source_paths": [f"{path}/x", f"{path}/y"], "destination": f"{path}/whole"})
    assert agent.request("POST", "/files/compose", order)[0] == 200
    (root / "tree" / "large").write_bytes(b"x" * 9_000_000)
    agent.request("GET", f"/files?path={path}/large")
    part = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{path}/c.html"\r\n\r\nx\r\n--b--\r\n'
    agent.request("POST", "/files", part, {"content-type": "multipart/form-data; boundary=b"})
    for headers in ({}, {"accept-encoding": "gzip"}, {"range": "bytes=0-0"}, {"if-modified-since": "Sun, 22 Nov 2037 21:36:42 GMT"}):
        agent.request("GET", f"/files?path={path}/c.html", headers=headers)
    agent.request("GET", f"/files?path={path}/missing&signature=x")
    agent.call("filesystem.Filesystem/Remove", {"path": path})


def exercise_rest(agent: Agent) -> None:
    for method, target in (
        ("GET", "/health"),
        ("GET", "/envs"),
        ("GET", "/metrics"),
        ("GET", "/nowhere"),
        ("PUT", "/health"),
        ("OPTIONS", "/envs"),
    ):
        agent.request(method, target, headers={"origin": "http://x", "access-control-request-method": "GET"})
    init = {"timestamp": "2026-11-22T21:36:42.5+01:00", "accessToken": "t", "envVars": {"A": "ü"}, "defaultUser": "root"}
    assert agent.request("POST", "/init", json.dumps(init))[0] == 204
    agent.request("POST", "/init", "{")
    agent.call("process.Process/List", {})
    for junk in (
        b"junk\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST /filesystem.Filesystem/Stat HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{",
    ):
        with agent.connect() as connection:
            connection.sendall(junk)
            connection.recv(4096)


def test_nothing_is_imported_or_opened_late(tmp_path: Path) -> None:
    with running_agent(audit=True) as agent:
        exercise_processes(agent)
        exercise_filesystem(agent, tmp_path)
        exercise_rest(agent)
        agent.process.terminate()
        assert agent.process.stdout is not None
        record = json.loads(agent.process.stdout.read())
    allowed = (*ALLOWED, str(tmp_path), "/dev/shm")
    # A name without a directory is relative to one that was opened before.
    assert [item for item in record["seen"] if item[0] == "import" or ("/" in item[1] and not item[1].startswith(allowed))] == []
    assert record["mapped"] == []
