"""What one release of the Python SDK can do here: run by a bare interpreter with that release on its path, prints one JSON object.

Written to the oldest interface that still works, with a word for each thing that was named differently before.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import e2b
from e2b import Sandbox

Check = Callable[[Any], None]
CHECKS: list[Check] = []


class AbsentError(Exception):
    """This release has no such thing."""


def check(function: Check) -> Check:
    """Registers a capability; its name is the column's."""
    CHECKS.append(function)
    return function


def needs(thing: object, name: str) -> Any:
    found = getattr(thing, name, None)
    if found is None:
        raise AbsentError
    return found


def make(**options: Any) -> Any:
    """Releases before 2.0 created a sandbox by calling the class."""
    create = getattr(Sandbox, "create", None)
    return create(**options) if create is not None else Sandbox(**options)


def until(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@check
def create_and_kill(_: Any) -> None:
    sandbox = make(timeout=60, envs={"FOO": "bar"}, metadata={"of": "scenario"})
    assert sandbox.commands.run("echo $FOO").stdout == "bar\n"
    assert sandbox.is_running() is True
    assert sandbox.kill() in (True, None)  # the oldest forget to return it
    assert sandbox.is_running() is False


@check
def list_sandboxes(sandbox: Any) -> None:
    found = Sandbox.list()
    items = found if isinstance(found, list) else found.next_items()
    assert sandbox.sandbox_id in [item.sandbox_id for item in items]


@check
def info(sandbox: Any) -> None:
    seen = needs(sandbox, "get_info")()
    assert seen.sandbox_id == sandbox.sandbox_id
    assert seen.metadata == {"release": "under test"}


@check
def set_timeout(sandbox: Any) -> None:
    sandbox.set_timeout(300)
    assert sandbox.is_running() is True


@check
def connect(sandbox: Any) -> None:
    again = Sandbox.connect(sandbox.sandbox_id)
    assert again.commands.run("echo again").stdout == "again\n"


@check
def commands(sandbox: Any) -> None:
    seen: list[str] = []
    failed: list[str] = []
    options = {"envs": {"A": "b"}, "cwd": "/tmp", "on_stdout": seen.append, "on_stderr": failed.append}
    result = sandbox.commands.run("echo $A; echo err >&2; pwd", **options)
    assert (result.stdout, result.stderr, result.exit_code) == ("b\n/tmp\n", "err\n", 0)
    assert ("".join(seen), "".join(failed)) == ("b\n/tmp\n", "err\n")
    assert sandbox.commands.run("whoami", user="root").stdout == "root\n"
    assert sandbox.commands.run("whoami").stdout == "user\n"


@check
def exit_codes(sandbox: Any) -> None:
    try:
        sandbox.commands.run("exit 3")
    except e2b.CommandExitException as error:
        code = error.exit_code
    assert code == 3


@check
def background(sandbox: Any) -> None:
    handle = sandbox.commands.run("sleep 300", background=True)
    assert handle.pid in [process.pid for process in sandbox.commands.list()]
    assert sandbox.commands.connect(handle.pid).pid == handle.pid
    assert sandbox.commands.kill(handle.pid) is True
    assert isinstance(failure_of(handle.wait), e2b.CommandExitException)
    assert sandbox.commands.kill(handle.pid) is False


@check
def standard_input(sandbox: Any) -> None:
    try:
        handle = sandbox.commands.run("head -n 1", background=True, stdin=True)
    except TypeError:  # before 2.0 it was always open
        handle = sandbox.commands.run("head -n 1", background=True)
    sandbox.commands.send_stdin(handle.pid, "typed\n")
    assert handle.wait().stdout == "typed\n"


@check
def timeouts(sandbox: Any) -> None:
    try:
        sandbox.commands.run("sleep 30", timeout=1)
    except e2b.TimeoutException:
        return
    raise AssertionError("no exception")


@check
def terminal(sandbox: Any) -> None:
    size: Any = importlib.import_module("e2b.sandbox.commands.command_handle").PtySize
    handle = sandbox.pty.create(size=size(rows=24, cols=80))
    sandbox.pty.resize(handle.pid, size(rows=30, cols=100))
    sandbox.pty.send_stdin(handle.pid, b"tput cols; exit\n")
    seen = b"".join(pty or b"" for _, _, pty in handle)
    assert b"100" in seen, seen


@check
def files(sandbox: Any) -> None:
    sandbox.files.write("folder/file.txt", "text")
    assert sandbox.files.read("folder/file.txt") == "text"
    sandbox.files.write("/tmp/bytes", bytes(range(256)))
    assert bytes(sandbox.files.read("/tmp/bytes", format="bytes")) == bytes(range(256))
    sandbox.files.write("empty", "")
    assert sandbox.files.read("empty") == ""
    assert [entry.name for entry in sandbox.files.list("folder")] == ["file.txt"]
    assert sandbox.files.exists("folder/file.txt") is True
    sandbox.files.rename("folder/file.txt", "folder/other.txt")
    assert sandbox.files.exists("folder/file.txt") is False
    assert sandbox.files.make_dir("folder/inner") is True
    assert sandbox.files.make_dir("folder/inner") is False
    sandbox.files.remove("folder")
    assert sandbox.files.exists("folder") is False


@check
def many_files(sandbox: Any) -> None:
    entries = [{"path": f"many/{number}", "data": str(number)} for number in range(10)]
    write = getattr(sandbox.files, "write_files", None)
    if write is None:
        try:
            sandbox.files.write(entries)
        except (TypeError, AttributeError) as error:
            raise AbsentError from error
    else:
        write(entries)
    assert sandbox.files.read("many/7") == "7"


@check
def watching(sandbox: Any) -> None:
    sandbox.files.make_dir("watched")
    handle = sandbox.files.watch_dir("watched")
    sandbox.files.write("watched/new", "x")
    seen: list[str] = []

    def look() -> bool:
        seen.extend(event.name for event in handle.get_new_events())
        return "new" in seen

    until(look, "an event")
    handle.stop()


@check
def signed_urls(sandbox: Any) -> None:
    form = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nby link\r\n--edge--\r\n'
    upload = urllib.request.Request(_signed(sandbox.upload_url), form, {"Content-Type": "multipart/form-data; boundary=edge"})
    with urllib.request.urlopen(upload, timeout=20) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(_signed(sandbox.download_url), timeout=20) as answer:
        assert answer.read() == b"by link"


def _signed(make_url: Any) -> str:
    """Where a sandbox needs a signature the release makes one, good for a minute."""
    try:
        url: str = make_url("/home/user/signed", user="user", use_signature_expiration=60)
    except TypeError:
        url = make_url("/home/user/signed")
    return url


@check
def ports(sandbox: Any) -> None:
    server = sandbox.commands.run("mkdir -p /tmp/web && cd /tmp/web && echo served > page && python3 -m http.server 8000", background=True)

    def served() -> bool:
        try:
            with urllib.request.urlopen(f"https://{sandbox.get_host(8000)}/page", timeout=20) as answer:
                return bool(answer.read() == b"served\n")
        except urllib.error.HTTPError as error:
            return error.code != 502

    until(served, "the page")
    server.kill()


@check
def metrics(sandbox: Any) -> None:
    needs(sandbox, "get_metrics")()  # its values are the API's own tests' business


@check
def pausing(sandbox: Any) -> None:
    pause = getattr(sandbox, "pause", None) or needs(sandbox, "beta_pause")
    sandbox.files.write("/tmp/paused", "kept")
    pause()
    back = getattr(type(sandbox), "resume", None) or type(sandbox).connect
    back(sandbox.sandbox_id)
    assert sandbox.files.read("/tmp/paused") == "kept"


@check
def snapshots(sandbox: Any) -> None:
    taken = needs(sandbox, "create_snapshot")()
    assert taken.snapshot_id in {snapshot.snapshot_id for snapshot in sandbox.list_snapshots().next_items()}
    copy = type(sandbox).create(taken.snapshot_id)
    assert copy.files.read("/tmp/paused") == "kept"
    copy.kill()
    assert type(sandbox).delete_snapshot(taken.snapshot_id)


@check
def forking(sandbox: Any) -> None:
    for fork in needs(sandbox, "fork")():
        assert fork.files.read("/tmp/paused") == "kept"
        fork.kill()


@check
def errors(sandbox: Any) -> None:
    assert isinstance(failure_of(lambda: sandbox.files.read("/nothing/there")), e2b.NotFoundException)
    assert isinstance(failure_of(lambda: sandbox.files.list("/nothing/there")), e2b.NotFoundException)
    assert isinstance(failure_of(lambda: sandbox.files.list("~stranger/x")), e2b.SandboxException)
    assert type(failure_of(lambda: make(template="no-such-template"))).__module__.startswith("e2b")
    refused = failure_of(lambda: make(api_key="e2b_" + "0" * 40))
    assert isinstance(refused, e2b.AuthenticationException) or "401" in str(refused), refused


def failure_of(action: Callable[[], Any]) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("no exception")


def report(package: str, sandbox: Any, checks: list[Check]) -> None:
    """Kills the sandbox in the end and prints `{"release": …, "outcomes": {capability: "passed" | "absent" | the failure's text}}`."""
    outcomes: dict[str, str] = {}
    try:
        for function in checks:
            try:
                function(sandbox)
                outcomes[function.__name__] = "passed"
            except AbsentError:
                outcomes[function.__name__] = "absent"
            except Exception as error:
                outcomes[function.__name__] = f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-3)}"
    finally:
        sandbox.kill()
    print(json.dumps({"release": importlib.metadata.version(package), "outcomes": outcomes}))


if __name__ == "__main__":
    report("e2b", make(timeout=300, metadata={"release": "under test"}), CHECKS)
