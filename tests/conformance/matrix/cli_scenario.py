"""What one release of the command line can do here: `e2b` is on the path; prints one JSON object."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def e2b(*arguments: str, stdin: str | None = None, expect: int = 0) -> str:
    """Runs a command; what it printed, without colours."""
    done = subprocess.run(["e2b", *arguments], input=stdin or "", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == expect, f"e2b {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return ANSI.sub("", done.stdout + done.stderr)


def create() -> str:
    """A sandbox that goes on after the command; its ID."""
    found = re.search(r"\b(i[a-z0-9]{19,})\b", e2b("sandbox", "create", "base", "--detach"))
    assert found is not None
    return found[1]


def create_and_kill(_: str) -> None:
    sandbox_id = create()
    e2b("sandbox", "kill", sandbox_id)
    assert sandbox_id not in e2b("sandbox", "list")


def list_sandboxes(sandbox_id: str) -> None:
    assert sandbox_id in e2b("sandbox", "list")


def info(sandbox_id: str) -> None:
    assert sandbox_id in e2b("sandbox", "info", sandbox_id)


def execute(sandbox_id: str) -> None:
    assert "hello\n" in e2b("sandbox", "exec", sandbox_id, "echo", "hello")
    e2b("sandbox", "exec", sandbox_id, "exit 7", expect=7)


def execute_with_input(sandbox_id: str) -> None:
    assert "TYPED" in e2b("sandbox", "exec", sandbox_id, "tr a-z A-Z", stdin="typed\n")


def connect(sandbox_id: str) -> None:
    """A terminal: types a command, sees its output, leaves."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("e2b", ["e2b", "sandbox", "connect", sandbox_id])
    seen, typed, end = b"", False, time.monotonic() + 40
    try:
        while b"6*7 is 42" not in seen:
            assert time.monotonic() < end, seen
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536)
            if not typed and (b"$ " in seen or b"# " in seen):
                os.write(terminal, b"echo 6*7 is $((6*7)); exit\n")
                typed = True
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def pausing(sandbox_id: str) -> None:
    e2b("sandbox", "pause", sandbox_id)
    e2b("sandbox", "resume", sandbox_id)
    assert "back" in e2b("sandbox", "exec", sandbox_id, "echo", "back")


def metrics(sandbox_id: str) -> None:
    e2b("sandbox", "metrics", sandbox_id)


def errors(_: str) -> None:
    assert "not found" in e2b("sandbox", "exec", "iaaaaaaaaaaaaaaaaaaaa", "true", expect=1).lower()


CHECKS: list[Callable[[str], None]] = [
    create_and_kill,
    list_sandboxes,
    info,
    execute,
    execute_with_input,
    connect,
    metrics,
    pausing,
    errors,
]


def main() -> None:
    """Prints `{"release": …, "outcomes": {…}}`."""
    release = json.loads(Path("node_modules/@e2b/cli/package.json").read_text())["version"]
    outcomes = {}
    sandbox_id = create()
    for check in CHECKS:
        try:
            check(sandbox_id)
            outcomes[check.__name__] = "passed"
        except Exception as error:
            outcomes[check.__name__] = f"{type(error).__name__}: {error}"
    e2b("sandbox", "kill", sandbox_id)
    print(json.dumps({"release": release, "outcomes": outcomes}))


if __name__ == "__main__":
    main()
