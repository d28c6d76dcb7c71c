"""`filesystem.Filesystem`: all RPCs."""

from __future__ import annotations

import asyncio
import errno
import os
import stat

from sandbank.aiokit.tasks import finish
from sandbank.contracts.filesystem import (
    CreateWatcherRequest,
    CreateWatcherResponse,
    EntryInfo,
    FilesystemEvent,
    GetWatcherEventsRequest,
    GetWatcherEventsResponse,
    ListDirRequest,
    ListDirResponse,
    MakeDirRequest,
    MakeDirResponse,
    MoveRequest,
    MoveResponse,
    RemoveRequest,
    RemoveResponse,
    RemoveWatcherRequest,
    RemoveWatcherResponse,
    StatRequest,
    StatResponse,
    WatchDirRequest,
    WatchDirResponse,
)
from sandbank.domain.errors import ConflictError, InternalError, InvalidError, NotFoundError
from sandbank.envd.accounts import Names
from sandbank.envd.connect.calls import Call, MessageStream
from sandbank.envd.connect.procedures import ServerStream, Unary
from sandbank.envd.filesystem.copying import move_by_copy
from sandbank.envd.filesystem.directories import ensure_directory
from sandbank.envd.filesystem.entry import describe
from sandbank.envd.filesystem.listing import list_directory
from sandbank.envd.filesystem.mounts import is_network_mount
from sandbank.envd.filesystem.removal import remove_tree
from sandbank.envd.filesystem.watch import DirectoryWatch
from sandbank.envd.filesystem.watchers import WatcherTable
from sandbank.envd.state import AgentState
from sandbank.envd.transport.connection import Handler
from sandbank.envd.transport.router import Router

_EVENTS_AT_ONCE = 256


class FilesystemService:
    """Acts as root: the user names the home directory and the owner of what is made, not permissions."""

    def __init__(self, state: AgentState, watchers: WatcherTable) -> None:
        self._state = state
        self._watchers = watchers

    def register(self, router: Router) -> None:
        """Put every RPC on its path."""
        procedures: dict[str, Handler] = {
            "Stat": Unary(StatRequest, self.stat),
            "MakeDir": Unary(MakeDirRequest, self.make_dir),
            "Move": Unary(MoveRequest, self.move),
            "ListDir": Unary(ListDirRequest, self.list_dir),
            "Remove": Unary(RemoveRequest, self.remove),
            "WatchDir": ServerStream(WatchDirRequest, self.watch_dir),
            "CreateWatcher": Unary(CreateWatcherRequest, self.create_watcher),
            "GetWatcherEvents": Unary(GetWatcherEventsRequest, self.get_watcher_events),
            "RemoveWatcher": Unary(RemoveWatcherRequest, self.remove_watcher),
        }
        for name, procedure in procedures.items():
            router.add("POST", f"/filesystem.Filesystem/{name}", procedure)

    def _path(self, call: Call, path: str) -> str:
        return self._state.resolve(path, self._state.account(call.username))

    @staticmethod
    def _entry(call: Call, path: str) -> EntryInfo:
        try:
            return _fitting(call, describe(path, Names()))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"file not found: lstat {path}: {_reason(error)}") from error
        except OSError as error:
            raise InternalError(f"error getting file info: lstat {path}: {_reason(error)}") from error

    async def stat(self, call: Call, request: StatRequest) -> StatResponse:
        """One entry."""
        return StatResponse(entry=self._entry(call, self._path(call, request.path)))

    async def make_dir(self, call: Call, request: MakeDirRequest) -> MakeDirResponse:
        """A directory and its missing parents; `already_exists` when it is there."""
        path = self._path(call, request.path)
        try:
            exists: os.stat_result | None = os.stat(path)
        except FileNotFoundError:
            exists = None
        except OSError as error:
            raise InternalError(f"error getting file info: stat {path}: {_reason(error)}") from error
        if exists is not None and stat.S_ISDIR(exists.st_mode):
            raise ConflictError(f"directory already exists: {path}")
        if exists is not None:
            raise InvalidError(f"path already exists but it is not a directory: {path}")
        self._ensure(call, path)
        return MakeDirResponse(entry=self._entry(call, path))

    def _ensure(self, call: Call, path: str) -> None:
        try:
            ensure_directory(path, self._state.account(call.username))
        except OSError as error:
            raise InternalError(f"error creating directory {path}: {_reason(error)}") from error

    async def move(self, call: Call, request: MoveRequest) -> MoveResponse:
        """Rename, by a copy where the kernel cannot; goes on to its end when the caller leaves."""
        source, destination = self._path(call, request.source), self._path(call, request.destination)
        self._ensure(call, os.path.dirname(destination.rstrip("/")) or "/")
        try:
            try:
                os.rename(source, destination)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                await finish(move_by_copy(source, destination))
        except FileNotFoundError as error:
            raise NotFoundError(f"source file not found: rename {source} {destination}: {_reason(error)}") from error
        except OSError as error:
            raise InternalError(f"error renaming: rename {source} {destination}: {_reason(error)}") from error
        return MoveResponse(entry=self._entry(call, destination))

    async def list_dir(self, call: Call, request: ListDirRequest) -> ListDirResponse:
        """Entries up to a depth."""
        entries = await list_directory(self._path(call, request.path), request.depth or 1)
        return ListDirResponse(entries=[_fitting(call, entry) for entry in entries])

    async def remove(self, call: Call, request: RemoveRequest) -> RemoveResponse:
        """Recursive; goes on to its end when the caller leaves."""
        await finish(remove_tree(self._path(call, request.path)))
        return RemoveResponse()

    # -- watching

    def _watched_path(self, call: Call, request: WatchDirRequest | CreateWatcherRequest) -> str:
        path = self._path(call, request.path)
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"path {path} not found: stat {path}: {_reason(error)}") from error
        except OSError as error:
            raise InternalError(f"error statting path {path}: {_reason(error)}") from error
        if not stat.S_ISDIR(status.st_mode):
            raise InvalidError(f"path {path} not a directory: {path}")
        if not request.allow_network_mounts and is_network_mount(path):
            raise InvalidError(f"cannot watch path on network filesystem: {path}")
        return path

    async def watch_dir(self, call: Call, request: WatchDirRequest, stream: MessageStream) -> None:
        """Events until the caller leaves. One that is too slow loses the watch, never memory."""
        watch = DirectoryWatch(
            self._watchers.hub, self._watched_path(call, request), recursive=request.recursive, include_entry=request.include_entry
        )
        try:
            await _armed(watch)
            await stream.send(WatchDirResponse(start=WatchDirResponse.StartEvent()))
            while True:
                try:
                    async with asyncio.timeout(call.keepalive_seconds):
                        await watch.events.wait()
                except TimeoutError:
                    await stream.send(WatchDirResponse(keepalive=WatchDirResponse.KeepAlive()))
                    continue
                events = watch.events.take(_EVENTS_AT_ONCE)
                await stream.send_payloads(stream.codec.encode(WatchDirResponse(filesystem=_fitting_event(call, one))) for one in events)
        finally:
            watch.close()

    async def create_watcher(self, call: Call, request: CreateWatcherRequest) -> CreateWatcherResponse:
        """A watch to be polled."""
        path = self._watched_path(call, request)
        self._watchers.check_room()
        watch = DirectoryWatch(self._watchers.hub, path, recursive=request.recursive, include_entry=request.include_entry)
        try:
            await _armed(watch)
            return CreateWatcherResponse(watcher_id=self._watchers.add(watch))
        except BaseException:
            watch.close()
            raise

    async def get_watcher_events(self, call: Call, request: GetWatcherEventsRequest) -> GetWatcherEventsResponse:
        """What happened since the last poll."""
        events = self._watchers.get(request.watcher_id).events.take()
        return GetWatcherEventsResponse(events=[_fitting_event(call, event) for event in events])

    async def remove_watcher(self, call: Call, request: RemoveWatcherRequest) -> RemoveWatcherResponse:
        """End a polled watch."""
        self._watchers.remove(request.watcher_id)
        return RemoveWatcherResponse()


async def _armed(watch: DirectoryWatch) -> None:
    try:
        await watch.arm()
    except OSError as error:
        raise InternalError(f"error watching path: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _fitting(call: Call, entry: EntryInfo) -> EntryInfo:
    """The entry as the oldest Python client can take it, if it is that one."""
    return EntryInfo(name=entry.name, type=entry.type, path=entry.path) if call.is_legacy else entry


def _fitting_event(call: Call, event: FilesystemEvent) -> FilesystemEvent:
    return FilesystemEvent(name=event.name, type=event.type) if call.is_legacy else event
