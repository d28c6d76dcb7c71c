"""Who answers: a server over HTTP, or the engine in a child process. Both raise `UnavailableError` and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from sandbank.aiokit.tasks import TaskGroup
from sandbank.clickhouse.engine import LENGTH, encode
from sandbank.domain.errors import UnavailableError

_SECONDS = 20.0
_START_SECONDS = 60.0
_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 60.0
_CONNECTIONS = 4
_MAX_WAITING = 64
_LAST_SECONDS = 3.0


class Backend(Protocol):
    """What `ClickHouse` needs."""

    async def ask(self, operation: str, *arguments: Any) -> Any:
        """Do one thing: `query`, `insert` or `command`."""

    async def close(self) -> None:
        """Let go."""


class Queue:
    """Bounds what waits for an answer. A caller that gives up takes its question back from nobody: what was written stays written."""

    def __init__(self) -> None:
        self._waiting = 0

    async def answer(self, start: Callable[[], asyncio.Future[Any]]) -> Any:
        """What `start` comes to; `UnavailableError` at once if too many wait already."""
        if self._waiting >= _MAX_WAITING:
            raise UnavailableError("ClickHouse is busy: too many questions wait")
        future = start()
        self._waiting += 1
        future.add_done_callback(self._answered)
        return await asyncio.shield(future)

    def _answered(self, _: asyncio.Future[Any]) -> None:
        self._waiting -= 1


class ServerBackend:
    """A server; `clickhouse-connect` blocks, so it does that in threads."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._where = urlsplit(dsn).netloc.rpartition("@")[2]
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # it logs what it raises, with a traceback
        self._client: Any = None
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="clickhouse")
        self._queue = Queue()

    async def ask(self, operation: str, *arguments: Any) -> Any:
        """See `Backend.ask`; a cancelled caller leaves a thread that ends with the answer or its timeout."""
        loop = asyncio.get_running_loop()
        return await self._queue.answer(lambda: loop.run_in_executor(self._threads, partial(self._ask, operation, *arguments)))

    async def close(self) -> None:
        """Requests in flight are given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    def _ask(self, operation: str, *arguments: Any) -> Any:
        from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

        try:
            client = self._connected()
            if operation == "query":
                sql, parameters = arguments
                return [tuple(row) for row in client.query(sql, parameters=parameters).result_rows]
            if operation == "insert":
                table, columns, rows = arguments
                client.insert(table, rows, column_names=columns)
                return None
            client.command(arguments[0])
        except (OperationalError, OSError) as error:
            raise UnavailableError(f"ClickHouse at {self._where} cannot be reached") from error
        except ClickHouseError as error:
            raise UnavailableError(f"ClickHouse: {_first_line(error)}") from error
        except Exception as error:  # boundary of a library that takes whatever answers there for ClickHouse
            raise UnavailableError(f"what answers at {self._where} is not understood: {_first_line(error)}") from error
        return None

    def _connected(self) -> Any:
        if self._client is None:
            import clickhouse_connect

            self._client = clickhouse_connect.get_client(
                dsn=self._dsn, connect_timeout=5, send_receive_timeout=_SECONDS, autogenerate_session_id=False, query_retries=0
            )
        return self._client


class EngineBackend:
    """The embedded engine, started at the first question and again, ever less eagerly, when it dies. One question at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._turn = asyncio.Lock()
        self._queue = Queue()
        self._tasks = TaskGroup("clickhouse", lambda task, error: None)  # whoever asked has the error
        self._process: asyncio.subprocess.Process | None = None
        self._not_before = 0.0
        self._pause_seconds = _PAUSE_SECONDS

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return None if self._process is None else self._process.pid

    async def ask(self, operation: str, *arguments: Any) -> Any:
        """See `Backend.ask`. A cancelled caller's question is answered all the same; one that takes too long ends the engine."""
        # Cut off halfway, the rest of its answer would be taken for the next one's.
        return await self._queue.answer(lambda: self._tasks.start(operation, self._ask(operation, *arguments)))

    async def _ask(self, operation: str, *arguments: Any) -> Any:
        async with self._turn:
            process = await self._running()
            try:
                async with asyncio.timeout(_SECONDS):
                    assert process.stdin is not None
                    process.stdin.write(encode((operation, arguments)))
                    await process.stdin.drain()
                    problem, result = await _receive(process)
            except TimeoutError as error:
                await self._end()
                raise UnavailableError(f"ClickHouse's engine did not answer within {_SECONDS:g} seconds") from error
            except (OSError, EOFError) as error:
                await self._end()
                raise UnavailableError("ClickHouse's engine died; it will be started again") from error
            except BaseException:
                await self._end()
                raise
        self._pause_seconds = _PAUSE_SECONDS
        if problem is not None:
            raise UnavailableError(f"ClickHouse: {problem}")
        return result

    async def close(self) -> None:
        """End the child; questions that wait have some seconds to be answered, then they are given up."""
        await self._tasks.drain(_LAST_SECONDS)
        await self._end()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            raise UnavailableError("ClickHouse's engine died; it will be started again")
        self._not_before = loop.time() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _MAX_PAUSE_SECONDS)
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sandbank.clickhouse.engine",
            str(self._directory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # what is typed at the service's terminal is not meant for it
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                problem, _ = await _receive(process)
        except (TimeoutError, OSError, EOFError) as error:
            await self._end()
            raise UnavailableError("ClickHouse's engine does not start") from error
        except BaseException:
            await self._end()
            raise
        if problem is not None:
            await self._end()
            raise UnavailableError(f"ClickHouse: {problem}")
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _receive(process: asyncio.subprocess.Process) -> tuple[str | None, Any]:
    assert process.stdout is not None
    try:
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        answer: tuple[str | None, Any] = pickle.loads(await process.stdout.readexactly(length))  # noqa: S301  # our own child's
    except asyncio.IncompleteReadError as error:
        raise EOFError from error
    return answer


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def as_lists(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    """Rows as the library takes them."""
    return [list(row) for row in rows]
