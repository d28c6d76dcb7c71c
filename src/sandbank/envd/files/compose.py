"""`POST /files/compose`: several files become one (data-plane contract §4.6)."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbank.aiokit.tasks import finish
from sandbank.domain.errors import InvalidError, NotFoundError
from sandbank.envd.accounts import Account
from sandbank.envd.files.request_target import account_named
from sandbank.envd.files.writer import entry, told_of_space
from sandbank.envd.filesystem.directories import ensure_directory
from sandbank.envd.offload import in_turns
from sandbank.envd.state import AgentState
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

MAX_BODY_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Order:
    """A decoded body."""

    source_paths: list[str]
    destination: str
    username: str | None

    @classmethod
    def decode(cls, body: bytes) -> Order:
        """`InvalidError` for anything that is no such object."""
        try:
            raw: Any = json.loads(body)
            json.dumps(raw, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            raise InvalidError(f"error decoding request body: {error}") from error
        if not isinstance(raw, dict):
            raise InvalidError("error decoding request body: not an object")
        sources, destination, username = raw.get("source_paths") or [], raw.get("destination") or "", raw.get("username")
        if not isinstance(sources, list) or not all(isinstance(text, str) for text in (*sources, destination, username or "")):
            raise InvalidError("error decoding request body: a field has the wrong type")
        if not sources:
            raise InvalidError("source_paths must not be empty")
        if not destination:
            raise InvalidError("destination is required")
        return cls(sources, destination, username)


class Compose:
    """The handler."""

    def __init__(self, state: AgentState) -> None:
        self._state = state

    async def __call__(self, request: Request, response: Response) -> None:
        """Make the file, then remove its parts; once begun it goes on to its end, whether or not the client stays."""
        order = Order.decode(await request.body.read_all(MAX_BODY_BYTES))
        account = account_named(self._state, order.username)
        destination = self._state.resolve(order.destination, account)
        sources = [self._state.resolve(path, account) for path in order.source_paths]
        _check(sources, destination)
        await finish(_compose(sources, destination, account))
        await response.send_json(200, entry(destination))


def _check(sources: list[str], destination: str) -> None:
    target = _stat(destination)
    if target is not None and stat.S_ISDIR(target.st_mode):
        raise InvalidError(f"path is a directory: {destination}")
    for source in sources:
        status = _stat(source)
        if status is None:
            raise NotFoundError(f"source file not found: {source}")
        if not stat.S_ISREG(status.st_mode):
            raise InvalidError(f"source path is not a regular file: {source}")
        if source == destination or (target is not None and os.path.samestat(status, target)):
            raise InvalidError(f"source path must not equal the destination: {source}")


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


async def _compose(sources: list[str], destination: str, account: Account) -> None:
    temporary = f"{destination}.e2b-compose.{uuid.uuid4()}.tmp"
    try:
        try:
            ensure_directory(os.path.dirname(destination.rstrip("/")) or "/", account)
            await in_turns(_concatenate(sources, temporary, account))
            os.rename(temporary, destination)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise told_of_space(error, destination) from error
    for source in sources:
        with contextlib.suppress(FileNotFoundError):  # named twice, or gone
            os.unlink(source)


def _concatenate(sources: list[str], temporary: str, account: Account) -> Iterator[None]:
    with contextlib.ExitStack() as opened:
        writer = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        opened.callback(os.close, writer)
        os.fchown(writer, account.uid, account.gid)
        for source in sources:
            reader = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(reader).st_mode):  # exchanged since it was looked at
                    raise InvalidError(f"source path is not a regular file: {source}")
                left = os.fstat(reader).st_size
                while left > 0 and (count := os.sendfile(writer, reader, None, min(_PIECE_BYTES, left))):
                    left -= count
                    yield
            finally:
                os.close(reader)
