"""Kernels of our own: programs that read requests as lines of JSON and write what happens as lines of JSON.

A request is `{"id", "code", "silent"}` or `{"interrupt": true}`. Answers have a type: `stream`, `display`, `result`, `error` or `done`,
and their request's `id`; the first is `{"type": "ready"}`.
They travel on pipes of their own, `REQUESTS_FD` and `ANSWERS_FD` by name, so that programs may do to standard output what they like.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from . import events
from .events import Event
from .kernel import KernelEndedError, KernelFailedError

START_SECONDS = 30.0
LINE_BYTES = 256 << 20
CHUNK_BYTES = 1 << 16
QUEUED_ANSWERS = 1000  # beyond which the kernel has to wait for the client
STRAY_OUTPUT_SECONDS = 0.005  # how long output of other processes may come after the cell's end


class ProgramKernel:
    """The program is told to stop a cell by `{"interrupt": true}`."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._argv = list(argv)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._requests = -1
        self._answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(QUEUED_ANSWERS)
        self._readers: list[asyncio.Task[None]] = []
        self._transports: list[asyncio.BaseTransport] = []
        self._ended = False
        self._cell = 0
        self._cells_counted = 0

    async def start(self, cwd: str) -> None:
        """As `Kernel.start`."""
        request_read, self._requests = os.pipe()
        answer_read, answer_write = os.pipe()
        environment = self._environment | {"REQUESTS_FD": str(request_read), "ANSWERS_FD": str(answer_write)}
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own has no pipes but three
                self._argv,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(request_read, answer_write),
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._requests)
            os.close(answer_read)
            raise KernelFailedError(f"{self._argv[0]}: {error}") from error
        finally:
            os.close(request_read)
            os.close(answer_write)
        try:
            assert self._process.stdout is not None
            assert self._process.stderr is not None
            answers = await self._reader(os.fdopen(answer_read, "rb", 0))
            out, err = await self._reader(self._process.stdout), await self._reader(self._process.stderr)
            self._readers = [
                asyncio.create_task(self._read_answers(answers), name="answers of a kernel"),
                asyncio.create_task(self._read_stray(out, "stdout"), name="standard output of a kernel"),
                asyncio.create_task(self._read_stray(err, "stderr"), name="standard error of a kernel"),
            ]
            async with asyncio.timeout(START_SECONDS):
                said = ""
                while (answer := await self._answers.get()) is not None and answer["type"] != "ready":
                    said += answer.get("text", "")
                if answer is None:
                    raise KernelEndedError(said[-2000:] or "it ended at once")
        except BaseException as error:
            await self.close()
            if isinstance(error, Exception):
                raise KernelFailedError(f"{self._argv[0]}: {error or type(error).__name__}") from error
            raise

    async def _reader(self, pipe: Any) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        self._transports.append(transport)
        return reader

    async def _read_answers(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                answer = json.loads(line)
                if isinstance(answer, dict) and isinstance(answer.get("type"), str):
                    await self._answers.put(answer)
        except ValueError:  # neither a line nor JSON: the program is not itself any more
            pass
        finally:
            self._ended = True
        await self._answers.put(None)

    async def _read_stray(self, reader: asyncio.StreamReader, stream: str) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await self._answers.put({"type": "stream", "name": stream, "text": data.decode(errors="replace")})

    async def execute(self, code: str, *, silent: bool = False) -> AsyncIterator[Event]:
        """As `Kernel.execute`."""
        self._cell += 1
        if not silent:
            self._cells_counted += 1
        await self._send({"id": self._cell, "code": code, "silent": silent})
        if not silent:
            yield events.execution_count(self._cells_counted)
        async for answer in self._until_done():
            if answer["type"] == "error":
                yield events.error(str(answer.get("name", "Error")), str(answer.get("value", "")), str(answer.get("traceback", "")))
            elif silent:
                continue
            elif answer["type"] == "stream":
                yield events.output("stderr" if answer.get("name") == "stderr" else "stdout", str(answer.get("text", "")))
            elif answer["type"] in {"display", "result"} and isinstance(answer.get("data"), dict):
                yield events.result(answer["data"], is_main=answer["type"] == "result")

    async def _until_done(self) -> AsyncIterator[dict[str, Any]]:
        cell, wait = self._cell, None
        while True:
            try:
                async with asyncio.timeout(wait):
                    answer = await self._answers.get()
            except TimeoutError:
                return
            if answer is None:
                raise KernelEndedError
            if answer["type"] == "done":
                if answer.get("id") == cell:
                    self._cell_done = cell
                    wait = STRAY_OUTPUT_SECONDS
            elif "id" not in answer or answer["id"] == cell:
                yield answer

    _cell_done = 0

    async def _send(self, request: dict[str, Any]) -> None:
        data = memoryview(json.dumps(request).encode() + b"\n")
        try:
            await asyncio.to_thread(_write_all, self._requests, data)
        except OSError as error:
            raise KernelEndedError from error

    async def interrupt(self) -> None:
        """As `Kernel.interrupt`."""
        if self.alive():
            with contextlib.suppress(KernelEndedError):
                await self._send({"interrupt": True})

    async def settle(self, seconds: float) -> bool:
        """As `Kernel.settle`."""
        try:
            async with asyncio.timeout(seconds):
                if self._cell_done != self._cell:
                    async for _ in self._until_done():
                        pass
        except (TimeoutError, KernelEndedError):
            return False
        return True

    def alive(self) -> bool:
        """As `Kernel.alive`."""
        return self._process is not None and not self._ended and self._process.poll() is None

    async def close(self) -> None:
        """As `Kernel.close`."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for reader in self._readers:
            reader.cancel()
        for transport in self._transports:
            transport.close()
        os.close(self._requests)
        await asyncio.to_thread(process.wait)


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
