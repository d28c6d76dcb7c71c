"""Parts of the product are killed with SIGKILL while sandboxes run."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2b import CommandExitException, Sandbox, SandboxInfo, SandboxNotFoundException, SandboxQuery, SandboxState

from tests.product.instance import Instance, wait_until
from tests.product.inventory import sandbox_pids
from tests.product.processes import command_of, is_alive, kill_hard, service_pid, zygote_pid
from tests.product.serving import assert_nothing_left

TICK = """
import time
with open('/home/user/ticks', 'a', buffering=1) as ticks:
    while True:
        print(time.monotonic(), file=ticks)
        time.sleep(0.02)
"""
LONGEST_PAUSE_SECONDS = 1.5
"""Far above what scheduling on a loaded machine does to a 20 ms beat, far below the outage of a test."""
OUTAGE_SECONDS = 3.0


@pytest.fixture
def mark() -> Iterator[str]:
    """Metadata that names a test's sandboxes; they are all killed in the end."""
    value = uuid.uuid4().hex
    yield value
    for info in listed(value):
        Sandbox.kill(info.sandbox_id)


def listed(mark: str) -> list[SandboxInfo]:
    """The running sandboxes of a test."""
    paginator = Sandbox.list(query=SandboxQuery(metadata={"mark": mark}, state=[SandboxState.RUNNING]))
    found = []
    while paginator.has_next:
        found += paginator.next_items()
    return found


def beating(mark: str, number: int, timeout: int = 600) -> tuple[Sandbox, int]:
    """A sandbox with a process that notes the time 50 times a second, and that process's pid."""
    sandbox = Sandbox.create(timeout=timeout, metadata={"mark": mark, "number": str(number)}, envs={"NUMBER": str(number)})
    sandbox.files.write("/home/user/tick.py", TICK)
    handle = sandbox.commands.run("exec python3 tick.py", background=True, timeout=0)
    wait_until(lambda: sandbox.files.exists("/home/user/ticks"), "the first beat")
    return sandbox, handle.pid


def assert_never_stopped(sandbox: Sandbox, pid: int) -> None:
    """The process of `beating` still runs, as the same process, and never paused for long."""
    assert pid in {process.pid for process in sandbox.commands.list()}
    ticks = [float(line) for line in sandbox.files.read("/home/user/ticks").split("\n")[:-1]]
    now = float(sandbox.commands.run("python3 -c 'import time; print(time.monotonic())'").stdout)
    gaps = [later - earlier for earlier, later in zip(ticks, [*ticks[1:], now], strict=True)]
    assert max(gaps) < LONGEST_PAUSE_SECONDS, f"stopped for {max(gaps):.2f} s"


def assert_no_sandbox_process(server: Instance) -> None:
    """No process remains under any uid of the sandboxes; names those that do."""
    try:
        wait_until(lambda: sandbox_pids(server) == [], "no process of a sandbox remains")
    except AssertionError:
        raise AssertionError(f"left: {[(pid, command_of(pid)) for pid in sandbox_pids(server)]}") from None


def crash_and_restart(server: Instance) -> None:
    """Kills the service, leaves it dead for a while, and starts it again as a user would."""
    pid = service_pid(server)
    kill_hard(pid)
    wait_until(lambda: not is_alive(pid), "the service is dead")
    time.sleep(OUTAGE_SECONDS)
    server.up()


def test_sandboxes_outlive_the_service(server: Instance, mark: str) -> None:
    pairs = [beating(mark, number) for number in range(3)]
    before = {info.sandbox_id: info for info in listed(mark)}
    crash_and_restart(server)
    after = {info.sandbox_id: info for info in listed(mark)}
    assert after.keys() == before.keys()
    for sandbox_id, info in after.items():
        was = before[sandbox_id]
        assert (info.metadata, info.started_at, info.template_id, info.cpu_count, info.memory_mb, info.name) == (
            was.metadata,
            was.started_at,
            was.template_id,
            was.cpu_count,
            was.memory_mb,
            was.name,
        )
        assert abs((info.end_at - was.end_at).total_seconds()) < 1
    for number, (sandbox, pid) in enumerate(pairs):
        assert_never_stopped(sandbox, pid)
        assert sandbox.commands.run("echo $NUMBER").stdout == f"{number}\n"
        again = Sandbox.connect(sandbox.sandbox_id)
        assert again.commands.run("whoami").stdout == "user\n"
        assert sandbox.kill() is True
    assert listed(mark) == []


def test_command_under_way_can_be_taken_up_again(server: Instance, mark: str) -> None:
    sandbox = Sandbox.create(timeout=600, metadata={"mark": mark})
    handle = sandbox.commands.run("read line; echo got $line; exit 6", background=True, stdin=True, timeout=0)
    crash_and_restart(server)
    again = sandbox.commands.connect(handle.pid)
    sandbox.commands.send_stdin(handle.pid, "after the crash\n")
    with pytest.raises(CommandExitException) as caught:
        again.wait()
    assert (caught.value.exit_code, caught.value.stdout) == (6, "got after the crash\n")


def test_timeouts_are_enforced_across_a_crash(server: Instance, mark: str) -> None:
    during = Sandbox.create(timeout=600, metadata={"mark": mark})
    later = Sandbox.create(timeout=600, metadata={"mark": mark})
    during.set_timeout(2)
    later.set_timeout(15)
    crash_and_restart(server)
    wait_until(lambda: not during.is_running(), "the sandbox whose time was up during the outage is evicted", seconds=5)
    wait_until(lambda: not later.is_running(), "the other one's timeout still counts", seconds=25)
    with pytest.raises(SandboxNotFoundException):
        later.get_info()


def test_changed_timeout_outlives_a_crash(server: Instance, mark: str) -> None:
    sandbox = Sandbox.create(timeout=60, metadata={"mark": mark})
    sandbox.set_timeout(1800)
    end = sandbox.get_info().end_at
    crash_and_restart(server)
    assert abs((sandbox.get_info().end_at - end).total_seconds()) < 1


def test_sandbox_that_died_during_the_outage_is_not_listed(server: Instance, mark: str) -> None:
    dead = Sandbox.create(timeout=600, metadata={"mark": mark})
    pid = service_pid(server)
    kill_hard(pid)
    wait_until(lambda: not is_alive(pid), "the service is dead")
    for victim in sandbox_pids(server):
        with contextlib.suppress(ProcessLookupError):
            kill_hard(victim)
    wait_until(lambda: sandbox_pids(server) == [], "the sandbox is dead")
    server.up()
    assert listed(mark) == []
    assert dead.is_running() is False


def test_crash_amid_creates_leaves_no_orphan(server: Instance, mark: str) -> None:
    gate = threading.Barrier(9)

    def create(number: int) -> None:
        gate.wait()
        with contextlib.suppress(Exception):
            Sandbox.create(timeout=600, metadata={"mark": mark, "number": str(number)}, retries=0, request_timeout=10)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(create, number) for number in range(8)]
        gate.wait()
        time.sleep(0.03)
        crash_and_restart(server)
        for future in futures:
            future.result()
    for info in listed(mark):
        sandbox = Sandbox.connect(info.sandbox_id)
        assert sandbox.commands.run("echo usable").stdout == "usable\n"
        assert sandbox.kill() is True
    assert_no_sandbox_process(server)


def test_creates_work_again_after_the_zygote_died(server: Instance, mark: str) -> None:
    sandbox, pid = beating(mark, 0)
    for _ in range(3):
        zygote = zygote_pid(server)
        kill_hard(zygote)
        time.sleep(1.0)
        with Sandbox.create(timeout=60, metadata={"mark": mark}) as fresh:
            assert fresh.commands.run("echo fresh").stdout == "fresh\n"
        assert zygote_pid(server) != zygote
        assert_never_stopped(sandbox, pid)
    assert sandbox.get_info().state == SandboxState.RUNNING


def test_creates_amid_the_zygotes_death_succeed_or_fail_clean(server: Instance, mark: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(Sandbox.create, timeout=60, metadata={"mark": mark}) for _ in range(24)]
        kill_hard(zygote_pid(server))
        made = []
        for future in futures:
            with contextlib.suppress(Exception):
                made.append(future.result())
    assert {sandbox.sandbox_id for sandbox in made} == {info.sandbox_id for info in listed(mark)}
    for sandbox in made:
        assert sandbox.commands.run("echo usable").stdout == "usable\n"
        assert sandbox.kill() is True
    assert_no_sandbox_process(server)


def test_service_and_zygote_die_together(server: Instance, mark: str) -> None:
    sandbox, pid = beating(mark, 0)
    zygote = zygote_pid(server)
    kill_hard(service_pid(server))
    with contextlib.suppress(ProcessLookupError):
        kill_hard(zygote)
    time.sleep(OUTAGE_SECONDS)
    server.up()
    assert_never_stopped(sandbox, pid)
    with Sandbox.create(timeout=60, metadata={"mark": mark}) as fresh:
        assert fresh.commands.run("echo fresh").stdout == "fresh\n"


def test_agent_that_is_killed_from_inside_comes_back(server: Instance, mark: str) -> None:
    sandbox, pid = beating(mark, 0)
    with contextlib.suppress(Exception):  # whatever the client makes of a connection that is cut
        sandbox.commands.run("kill -9 $(pgrep -x envd)", user="root", timeout=10)
    wait_until(sandbox.is_running, "the agent is back", seconds=10)
    assert sandbox.commands.run("cat /proc/self/comm; kill -0 " + str(pid)).stdout == "cat\n"
    assert {info.sandbox_id for info in listed(mark)} == {sandbox.sandbox_id}
    assert sandbox.kill() is True
    wait_until(lambda: sandbox_pids(server) == [], "nothing of it remains")


def test_sandbox_whose_first_process_died_is_gone(server: Instance, mark: str) -> None:
    sandbox = Sandbox.create(timeout=600, metadata={"mark": mark})
    for pid in sandbox_pids(server):
        with contextlib.suppress(ProcessLookupError):
            kill_hard(pid)
    wait_until(lambda: not sandbox.is_running(), "the sandbox counts as ended", seconds=10)
    wait_until(lambda: listed(mark) == [], "it is not listed", seconds=10)
    wait_until(lambda: sandbox_pids(server) == [], "nothing of it remains")


def test_orderly_restart_keeps_sandboxes_when_asked_to(server: Instance, mark: str) -> None:
    sandbox, pid = beating(mark, 0)
    assert server.command("down", "--keep-sandboxes", timeout_seconds=120).returncode == 0
    assert server.status()["running"] is False
    server.up()
    assert_never_stopped(sandbox, pid)
    assert {info.sandbox_id for info in listed(mark)} == {sandbox.sandbox_id}


def test_down_after_a_crash_ends_the_sandboxes_that_were_left(server: Instance, mark: str) -> None:
    Sandbox.create(timeout=600, metadata={"mark": mark})
    pid = service_pid(server)
    kill_hard(pid)
    wait_until(lambda: not is_alive(pid), "the service is dead")
    server.down()
    assert_nothing_left(server)
    server.up()
    assert listed(mark) == []
