"""An image in a registry, by the distribution specification's pull."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import IO, TypeVar

import httpx

from sandbank.domain.errors import SandbankError
from sandbank.registry import failures
from sandbank.registry.authorization import Authorization
from sandbank.registry.connection import Connection
from sandbank.registry.documents import read_document
from sandbank.registry.limits import PullLimits
from sandbank.registry.manifest import ACCEPT, Descriptor
from sandbank.registry.reference import ImageReference
from sandbank.registry.source import Document

T = TypeVar("T")

_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_PAUSE_SECONDS = 20.0
_CHUNK = 1 << 20


class _AgainError(Exception):
    """It may go better next time; `error` is what to say if it does not."""

    def __init__(self, error: SandbankError, pause_seconds: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        self.pause_seconds = pause_seconds


class RegistrySource:
    """Implements `ImageSource`. `image` is the name that its user wrote."""

    def __init__(
        self, image: str, reference: ImageReference, authorization: Authorization, connection: Connection, limits: PullLimits
    ) -> None:
        self._image = image
        self._reference = reference
        self._authorization = authorization
        self._connection = connection
        self._limits = limits

    async def top(self) -> Document:
        """The manifest or index of the tag or digest; `NotFoundError`, `DeniedError` or `UnavailableError`."""
        version = self._reference.version

        async def fetch() -> Document:
            async with self._open(f"manifests/{version}", {"accept": ACCEPT}) as response:
                document = await self._read(response)
            announced = self._reference.digest or response.headers.get("docker-content-digest", "")
            if announced.startswith("sha256:") and announced != document.digest:
                raise failures.dishonest(self._image, f"the registry sent {document.digest} as {announced}")
            return document

        return await self._persist(fetch)

    async def document(self, descriptor: Descriptor) -> Document:
        """A part that is read whole."""
        kind = "manifests" if "manifest" in descriptor.media_type else "blobs"

        async def fetch() -> Document:
            async with self._open(f"{kind}/{descriptor.digest}", {"accept": ACCEPT} if kind == "manifests" else {}) as response:
                document = await self._read(response)
            if document.digest != descriptor.digest or len(document.body) != descriptor.size:
                raise failures.dishonest(self._image, f"the registry sent {document.digest} as {descriptor.digest}")
            return document

        return await self._persist(fetch)

    async def blob(self, descriptor: Descriptor, file: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        """Resumed where a connection ended; `InvalidError` when it is longer than announced or another."""
        download = _Download(self._image, descriptor, file, on_bytes)

        async def fetch() -> None:
            headers = {"range": f"bytes={download.position}-"} if download.position else {}
            async with self._open(f"blobs/{descriptor.digest}", headers) as response:
                await asyncio.to_thread(download.begin, _resumes_at(response, download.position))
                async for chunk in response.aiter_raw(_CHUNK):
                    await asyncio.to_thread(download.take, chunk)
            if download.position < descriptor.size:
                raise _AgainError(failures.unreachable(self._image, f"layer {descriptor.digest} ended early"))

        if descriptor.size:
            await self._persist(fetch)
        await asyncio.to_thread(download.finish)

    async def _read(self, response: httpx.Response) -> Document:
        try:
            body = await read_document(response)
        except ValueError as error:
            raise failures.dishonest(self._image, str(error)) from error
        return Document(body, response.headers.get("content-type", ""), f"sha256:{hashlib.sha256(body).hexdigest()}")

    @asynccontextmanager
    async def _open(self, path: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """An answer with a body; logs in when it is asked to."""
        url = f"{self._connection.base_url}/v2/{self._reference.repository}/{path}"
        for is_last in (False, False, True):
            used = self._authorization.header
            async with self._connection.send(url, headers, authorization=used) as response:
                status = response.status_code
                if status in (200, 206):
                    yield response
                    return
                challenges = response.headers.get_list("www-authenticate")
            if status != 401 or is_last or not await self._authorization.answer(challenges, used):
                break
        error = failures.of_status(self._image, status)
        if status in _AGAIN:
            pause = response.headers.get("retry-after", "")
            raise _AgainError(error, float(pause) if pause.isdigit() and len(pause) < 4 else 0.0)
        raise error

    async def _persist(self, fetch: Callable[[], Awaitable[T]]) -> T:
        """Try again as often as the limits say, longer and longer after one another."""
        for attempt in range(self._limits.attempts):
            try:
                return await fetch()
            except _AgainError as failed:
                error, pause = failed.error, failed.pause_seconds
            except httpx.TransportError as failed:
                error, pause = failures.unreachable(self._image, _reason(failed)), 0.0
                if isinstance(failed, httpx.ConnectError) and attempt > 0:
                    break  # nobody is there: that rarely changes within seconds
            if attempt + 1 < self._limits.attempts:
                await asyncio.sleep(min(max(pause, 0.3 * 2**attempt), _LONGEST_PAUSE_SECONDS))
        raise error


class _Download:
    """One layer on its way to a file, by any number of connections. Its methods block."""

    def __init__(self, image: str, descriptor: Descriptor, file: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        self._image = image
        self._descriptor = descriptor
        self._file = file
        self._on_bytes = on_bytes
        self._hash = hashlib.sha256()
        self.position = 0

    def begin(self, position: int) -> None:
        """Go on at `position`, which is where the last connection ended, or at the very beginning."""
        if position != self.position:
            self._file.seek(0)
            self._file.truncate()
            self._hash = hashlib.sha256()
            self.position = 0

    def take(self, chunk: bytes) -> None:
        """What comes next."""
        self.position += len(chunk)
        if self.position > self._descriptor.size:
            announced = f"{self._descriptor.size} bytes that its manifest says"
            raise failures.dishonest(self._image, f"layer {self._descriptor.digest} is longer than the {announced}")
        self._hash.update(chunk)
        self._file.write(chunk)
        self._on_bytes(self.position)

    def finish(self) -> None:
        """Whether it is what it should be."""
        self._file.flush()
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self._descriptor.digest:
            raise failures.dishonest(self._image, f"the registry sent {found} as {self._descriptor.digest}")


def _resumes_at(response: httpx.Response, position: int) -> int:
    is_rest = response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {position}-")
    return position if is_rest else 0


def _reason(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it does not answer" if isinstance(error, httpx.ConnectTimeout) else "it has stopped sending"
    return str(error) or type(error).__name__
