"""`sandbox.files.watch_dir`: polled by the synchronous SDK, streamed to the asynchronous one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest
from e2b import AsyncSandbox, FileNotFoundException, FilesystemEvent, FilesystemEventType, FileType, Sandbox, SandboxException, WatchHandle

from tests.product.instance import wait_until

type_of = FilesystemEventType


@pytest.fixture
def folder(sandbox: Sandbox) -> str:
    """A fresh directory to watch."""
    path = f"/home/user/{uuid.uuid4().hex[:12]}"
    sandbox.files.make_dir(path)
    return path


def collect(watch: WatchHandle, enough: Callable[[list[FilesystemEvent]], bool]) -> list[FilesystemEvent]:
    """Drains a polled watch until it has seen enough."""
    events: list[FilesystemEvent] = []

    def drained() -> bool:
        events.extend(watch.get_new_events())
        return enough(events)

    wait_until(drained, f"the events; got {events}", seconds=10.0)
    return events


def has(name: str, kind: FilesystemEventType) -> Callable[[list[FilesystemEvent]], bool]:
    """Whether an event of that name and kind is among them."""
    return lambda events: any(event.name == name and event.type == kind for event in events)


def test_write_to_an_existing_file(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/f", "before")
    watch = sandbox.files.watch_dir(folder)
    sandbox.files.write(f"{folder}/f", "after")
    assert {event.name for event in collect(watch, has("f", type_of.WRITE))} == {"f"}
    watch.stop()


def test_new_file_is_created_first(sandbox: Sandbox, folder: str) -> None:
    watch = sandbox.files.watch_dir(folder)
    sandbox.files.write(f"{folder}/new", "content")
    events = collect(watch, has("new", type_of.WRITE))
    assert (events[0].name, events[0].type) == ("new", type_of.CREATE)
    watch.stop()


def test_removal_rename_and_mode(sandbox: Sandbox, folder: str) -> None:
    sandbox.commands.run("echo x > a; echo x > b; echo x > c", cwd=folder)
    watch = sandbox.files.watch_dir(folder)
    sandbox.commands.run("rm a; mv b moved; chmod 600 c", cwd=folder)
    events = collect(watch, has("c", type_of.CHMOD))
    seen = {(event.name, event.type) for event in events}
    assert {("a", type_of.REMOVE), ("b", type_of.RENAME), ("moved", type_of.CREATE)} <= seen
    watch.stop()


def test_events_are_given_once(sandbox: Sandbox, folder: str) -> None:
    watch = sandbox.files.watch_dir(folder)
    sandbox.files.write(f"{folder}/f", "x")
    collect(watch, has("f", type_of.WRITE))
    wait_until(lambda: watch.get_new_events() == [], "no event comes twice")
    watch.stop()


def test_recursive_watch_sees_what_was_there_and_what_is_made(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/nested/file", "before")
    watch = sandbox.files.watch_dir(folder, recursive=True)
    sandbox.files.write(f"{folder}/nested/file", "after")
    collect(watch, has("nested/file", type_of.WRITE))
    sandbox.files.make_dir(f"{folder}/fresh")
    collect(watch, has("fresh", type_of.CREATE))
    sandbox.files.write(f"{folder}/fresh/file", "x")
    collect(watch, has("fresh/file", type_of.WRITE))
    watch.stop()


def test_plain_watch_sees_direct_children_only(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.make_dir(f"{folder}/nested")
    watch = sandbox.files.watch_dir(folder)
    sandbox.files.write(f"{folder}/nested/file", "x")
    sandbox.files.write(f"{folder}/mark", "x")
    events = collect(watch, has("mark", type_of.WRITE))
    assert not [event for event in events if "/" in event.name or event.name == "file"]
    watch.stop()


def test_entries_come_with_the_events(sandbox: Sandbox, folder: str) -> None:
    watch = sandbox.files.watch_dir(folder, include_entry=True, allow_network_mounts=True)
    sandbox.files.write(f"{folder}/f", "x")
    events = collect(watch, has("f", type_of.WRITE))
    entry = next(event.entry for event in events if event.type == type_of.WRITE)
    assert entry is not None
    assert (entry.name, entry.path, entry.type) == ("f", f"{folder}/f", FileType.FILE)
    sandbox.files.remove(f"{folder}/f")
    removed = next(event for event in collect(watch, has("f", type_of.REMOVE)) if event.type == type_of.REMOVE)
    assert removed.entry is None
    watch.stop()


def test_stopped_watch_is_gone(sandbox: Sandbox, folder: str) -> None:
    watch = sandbox.files.watch_dir(folder)
    watch.stop()
    with pytest.raises(SandboxException, match="already stopped"):
        watch.get_new_events()


def test_what_cannot_be_watched(sandbox: Sandbox, folder: str) -> None:
    with pytest.raises(FileNotFoundException):
        sandbox.files.watch_dir(f"{folder}/missing")
    sandbox.files.write(f"{folder}/f", "x")
    with pytest.raises(SandboxException, match="not a directory"):
        sandbox.files.watch_dir(f"{folder}/f")


@pytest.mark.asyncio(loop_scope="module")
async def test_streamed_watch(async_sandbox: AsyncSandbox) -> None:
    folder = f"/home/user/{uuid.uuid4().hex[:12]}"
    await async_sandbox.files.make_dir(folder)
    events: asyncio.Queue[FilesystemEvent] = asyncio.Queue()
    ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    watch = await async_sandbox.files.watch_dir(folder, events.put_nowait, on_exit=ended.set_result, recursive=True, include_entry=True)
    await async_sandbox.files.write(f"{folder}/nested/file", "x")
    async with asyncio.timeout(10):
        event = await events.get()
        assert (event.name, event.type) == ("nested", type_of.CREATE)
        await async_sandbox.files.write(f"{folder}/nested/file", "more")
        while (event.name, event.type) != ("nested/file", type_of.WRITE):
            event = await events.get()
        assert event.entry is not None
        assert (event.entry.name, event.entry.path, event.entry.type) == ("file", f"{folder}/nested/file", FileType.FILE)
        await watch.stop()  # type: ignore[no-untyped-call]
        assert await ended is None


@pytest.mark.asyncio(loop_scope="module")
async def test_streamed_watch_of_what_cannot_be_watched(async_sandbox: AsyncSandbox) -> None:
    with pytest.raises(FileNotFoundException):
        await async_sandbox.files.watch_dir("/home/user/missing", lambda _: None)
    await async_sandbox.files.write("/home/user/a-file", "x")
    with pytest.raises(SandboxException, match="not a directory"):
        await async_sandbox.files.watch_dir("/home/user/a-file", lambda _: None)
