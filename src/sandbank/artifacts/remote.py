"""Object storage that all nodes of an installation share: a directory, S3, Google Cloud Storage or Azure, through obstore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from sandbank.domain.errors import InvalidError, UnavailableError

_CHUNK = 8 << 20
# Somebody waits for most of what is asked, and what nobody waits for is tried again by whoever asked.
_RETRIES, _RETRY_FOR = 4, timedelta(seconds=15)
_SCHEMES = ("file", "s3", "gs", "az", "memory")


class Remote:
    """Objects by key. Methods block; `UnavailableError` when the storage does not answer as it should."""

    def __init__(self, store: ObjectStore, url: str = "") -> None:
        self._store = store
        self.url = url

    @staticmethod
    def open(url: str) -> Remote:
        """`file:///directory`, `s3://bucket/prefix`, `gs://…`, `az://…`; credentials by each cloud's own variables. `InvalidError`."""
        scheme = url.partition("://")[0]
        if scheme not in _SCHEMES:
            raise InvalidError(f"artefacts cannot be kept at {url!r}: it must begin with file://, s3://, gs:// or az://")
        try:
            if scheme == "file":
                return Remote(from_url(url, mkdir=True), url)
            if scheme == "memory":
                return Remote(from_url(url), url)
            return Remote(from_url(url, retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR}), url)
        except (BaseError, ValueError, OSError) as error:
            raise InvalidError(f"artefacts cannot be kept at {url!r}: {_line(error)}") from error

    def put(self, key: str, content: bytes | Iterable[bytes]) -> None:
        """Complete or not at all."""
        with _translated(f"{key} could not be stored"):
            obstore.put(self._store, key, content if isinstance(content, bytes) else iter(content))

    def get(self, key: str) -> bytes | None:
        """A small object, whole; None when there is none."""
        with _translated(f"{key} could not be read"):
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError:
                return None

    def has(self, key: str) -> bool:
        """Whether there is such an object."""
        with _translated(f"{key} could not be looked for"):
            try:
                obstore.head(self._store, key)
            except FileNotFoundError:
                return False
            return True

    def stream(self, key: str) -> Iterator[bytes]:
        """A large one, in pieces; `FileNotFoundError` when there is none.

        Each piece is a request of its own: how long one may take, clients of clouds limit.
        """
        with _translated(f"{key} could not be read"):
            size = obstore.head(self._store, key)["size"]
            for start in range(0, size, _CHUNK):
                yield bytes(obstore.get_range(self._store, key, start=start, end=min(start + _CHUNK, size)))

    def list(self, prefix: str) -> list[str]:
        """The keys that begin with a directory's name."""
        with _translated(f"{prefix} could not be listed"):
            return [entry["path"] for page in obstore.list(self._store, prefix) for entry in page]

    def delete(self, keys: Iterable[str]) -> None:
        """Idempotent."""
        for key in keys:
            with _translated(f"{key} could not be removed"):
                try:
                    obstore.delete(self._store, key)
                except FileNotFoundError:
                    continue


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise UnavailableError(f"{what}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
