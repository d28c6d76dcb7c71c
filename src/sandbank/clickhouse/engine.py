"""ClickHouse's engine in a process of its own: `python -m sandbank.clickhouse.engine <directory>`, asked over its standard input.

It is C++ and takes hundreds of megabytes: what it does to itself must not happen to a node. Both ends are ours, so messages are pickles:
four bytes of length, then `(operation, arguments)` there and `(error, result)` back. The end of the input ends the process, so that
it never outlives whoever started it.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

LENGTH = struct.Struct("!I")
_NICE = 5  # analytics come after creates
_THREADS = 2
_QUERY_BYTES = 512 << 20


def encode(message: object) -> bytes:
    """One message as it is written."""
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(payload)) + payload


def _receive(source: BinaryIO) -> Any:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    payload = source.read(length)
    return pickle.loads(payload) if len(payload) == length else None  # noqa: S301  # written by the process that started this one


def _lock(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(directory.parent / f"{directory.name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _operations(directory: Path) -> dict[str, Callable[..., Any]]:
    import clickhouse_connect

    client = clickhouse_connect.get_client(dsn=f"chdb://{directory}", settings={"max_threads": _THREADS, "max_memory_usage": _QUERY_BYTES})

    def query(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in client.query(sql, parameters=parameters).result_rows]

    def insert(table: str, columns: list[str], rows: list[Any]) -> None:
        client.insert(table, rows, column_names=columns)

    def command(sql: str) -> None:
        client.command(sql)

    return {"query": query, "insert": insert, "command": command}


def main(directory: Path) -> None:
    """Serve until the input ends. The first message out says whether the directory could be opened."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the engine prints is no answer
    os.nice(_NICE)
    # A service manager tells every process of a service to end: the last rows come after that.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _lock(directory)
        operations = _operations(directory)
    except BlockingIOError:
        sink.write(encode((f"{directory} is open in another process: the embedded engine serves one installation at a time", None)))
        return
    except Exception as error:  # noqa: BLE001  # root of the process
        sink.write(encode((_reason(error), None)))
        return
    sink.write(encode((None, None)))
    while (message := _receive(source)) is not None:
        operation, arguments = message
        try:
            answer: tuple[str | None, Any] = (None, operations[operation](*arguments))
        except Exception as error:  # noqa: BLE001  # request boundary
            answer = (_reason(error), None)
        sink.write(encode(answer))


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)  # without the engine's farewells: everything answered is on disk
