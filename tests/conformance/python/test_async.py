"""The asynchronous SDK: what it does differently on the wire, and a pass over all it offers."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from e2b import (
    AsyncSandbox,
    CommandExitException,
    FileNotFoundException,
    FileType,
    NotFoundException,
    PtySize,
    SandboxNotFoundException,
    SandboxQuery,
    TimeoutException,
)

from tests.product.instance import Instance

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISSING_PID = 999_999


async def test_create_list_info_timeout_and_kill(server: Instance) -> None:
    mark = uuid.uuid4().hex
    sandbox = await AsyncSandbox.create(timeout=60, metadata={"mark": mark}, envs={"GREETING": "hello"})
    assert (await sandbox.commands.run("echo $GREETING")).stdout == "hello\n"
    listed = await AsyncSandbox.list(query=SandboxQuery(metadata={"mark": mark})).next_items()
    assert [info.sandbox_id for info in listed] == [sandbox.sandbox_id]
    before = (await sandbox.get_info()).end_at
    await sandbox.set_timeout(300)
    assert (await sandbox.get_info()).end_at > before
    again = await AsyncSandbox.connect(sandbox.sandbox_id)
    assert await again.is_running() is True
    assert await sandbox.kill() is True
    assert await again.is_running() is False
    assert await sandbox.kill() is False
    with pytest.raises(SandboxNotFoundException):
        await sandbox.get_info()


async def test_foreground_with_callbacks(async_sandbox: AsyncSandbox) -> None:
    out: list[str] = []
    err: list[str] = []
    result = await async_sandbox.commands.run("echo out; echo err >&2", on_stdout=out.append, on_stderr=err.append)
    assert (result.exit_code, out, err) == (0, ["out\n"], ["err\n"])


async def test_background_exit_code_and_environment(async_sandbox: AsyncSandbox) -> None:
    handle = await async_sandbox.commands.run(
        "echo $FOO-$BAR; pwd; whoami; exit 4", background=True, envs={"BAR": "x"}, cwd="/tmp", user="root"
    )
    with pytest.raises(CommandExitException) as caught:
        await handle.wait()
    assert (caught.value.exit_code, caught.value.stdout) == (4, "sandbox-x\n/tmp\nroot\n")


async def test_timeout(async_sandbox: AsyncSandbox) -> None:
    with pytest.raises(TimeoutException):
        await async_sandbox.commands.run("sleep 100", timeout=1)


async def test_stdin_sent_and_streamed(async_sandbox: AsyncSandbox) -> None:
    handle = await async_sandbox.commands.run("cat", background=True, stdin=True)
    await handle.send_stdin("first ")
    async with async_sandbox.commands.stream_input(handle.pid) as stream:
        for number in range(50):
            await stream.send(f"{number} ")
    await handle.close_stdin()
    assert (await handle.wait()).stdout == "first " + "".join(f"{number} " for number in range(50))


async def test_connect_list_kill_and_what_is_missing(async_sandbox: AsyncSandbox) -> None:
    handle = await async_sandbox.commands.run("exec sleep 100", background=True)
    await handle.disconnect()
    again = await async_sandbox.commands.connect(handle.pid)
    assert handle.pid in {process.pid for process in await async_sandbox.commands.list()}
    assert await async_sandbox.commands.kill(handle.pid) is True
    with pytest.raises(CommandExitException):
        await again.wait()
    assert await async_sandbox.commands.kill(MISSING_PID) is False
    with pytest.raises(NotFoundException):
        await async_sandbox.commands.connect(MISSING_PID)


async def test_fifty_commands_at_once(async_sandbox: AsyncSandbox) -> None:
    results = await asyncio.gather(*(async_sandbox.commands.run(f"echo {number}") for number in range(50)))
    assert [result.stdout for result in results] == [f"{number}\n" for number in range(50)]


async def test_terminal(async_sandbox: AsyncSandbox) -> None:
    output = bytearray()
    terminal = await async_sandbox.pty.create(PtySize(rows=24, cols=80), on_data=output.extend, envs={"ABC": "123"})
    await async_sandbox.pty.resize(terminal.pid, PtySize(rows=24, cols=120))
    await async_sandbox.pty.send_stdin(terminal.pid, b"echo $ABC-$(tput cols)-end\n")
    async with asyncio.timeout(20):
        while b"123-120-end" not in output:
            await asyncio.sleep(0.05)
    await terminal.disconnect()
    later = bytearray()
    again = await async_sandbox.pty.connect(terminal.pid, on_data=later.extend)
    async with async_sandbox.pty.stream_input(terminal.pid) as stream:
        await stream.send(b"echo late-$((1+1))\nexit\n")
    assert (await again.wait()).exit_code == 0
    assert b"late-2" in later


async def test_files(async_sandbox: AsyncSandbox) -> None:
    folder = f"/home/user/{uuid.uuid4().hex[:12]}"
    files = async_sandbox.files
    assert await files.make_dir(folder) is True
    assert await files.make_dir(folder) is False
    written = await files.write(f"{folder}/f", "content ü")
    assert (written.name, written.type, written.path) == ("f", FileType.FILE, f"{folder}/f")
    await files.write_files([{"path": f"{folder}/d/{number}", "data": b"x" * number} for number in range(5)])
    assert await files.read(f"{folder}/f") == "content ü"
    assert await files.read(f"{folder}/d/3", format="bytes") == bytearray(b"xxx")
    assert b"".join([piece async for piece in await files.read(f"{folder}/f", format="stream")]) == "content ü".encode()
    assert [entry.name for entry in await files.list(folder, depth=2)] == ["d", "0", "1", "2", "3", "4", "f"]
    assert (await files.get_info(f"{folder}/d/4")).size == 4
    assert (await files.rename(f"{folder}/f", f"{folder}/g")).path == f"{folder}/g"
    assert (await files.exists(f"{folder}/f"), await files.exists(f"{folder}/g")) == (False, True)
    await files.remove(folder)
    assert await files.exists(folder) is False
    with pytest.raises(FileNotFoundException):
        await files.read(f"{folder}/f")


async def test_uploads_are_streamed_from_asynchronous_sources(async_sandbox: AsyncSandbox) -> None:
    async def pieces() -> object:
        for number in range(1000):
            yield f"{number}\n".encode()

    await async_sandbox.files.write("/home/user/streamed", pieces())  # type: ignore[arg-type]
    assert (await async_sandbox.commands.run("wc -l < streamed")).stdout.strip() == "1000"


async def test_kill_while_a_command_runs(server: Instance) -> None:
    sandbox = await AsyncSandbox.create(timeout=60)
    handle = await sandbox.commands.run("sleep 60", background=True)
    waiting = asyncio.ensure_future(handle.wait())
    await asyncio.sleep(0.1)
    assert await sandbox.kill() is True
    with pytest.raises(TimeoutException, match="killed or reached its end of life"):
        await waiting


async def test_twenty_sandboxes_at_once(server: Instance) -> None:
    sandboxes = await asyncio.gather(*(AsyncSandbox.create(timeout=60, envs={"N": str(number)}) for number in range(20)))
    try:
        results = await asyncio.gather(*(sandbox.commands.run("echo $N") for sandbox in sandboxes))
        assert [result.stdout for result in results] == [f"{number}\n" for number in range(20)]
        assert len({sandbox.sandbox_id for sandbox in sandboxes}) == 20
    finally:
        assert all(await asyncio.gather(*(sandbox.kill() for sandbox in sandboxes)))
