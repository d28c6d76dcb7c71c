"""What the core needs of the world."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class PushRights(Protocol):
    """Who may push what, as the database has it. Both raise `UnavailableError` while it does not answer."""

    async def find_user(self, access_token: str) -> str | None:
        """The user of an access token."""
        ...

    async def may_push(self, user_id: str, template_id: str) -> bool:
        """Whether the template exists, the user is in its team, and a build of it waits for its image."""
        ...


class UpstreamTokens(Protocol):
    """The credentials that the upstream registry wants of us."""

    async def prepare(self, template_id: str) -> int | None:
        """Have them ready for the template's repository. Seconds that they last, where they end. `UnavailableError`: there are none."""
        ...


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A file with verified content, which never changes; it may be removed while it is being read."""

    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest, and what it says it is."""

    content: bytes
    digest: str
    media_type: str


class Images(Protocol):
    """What is kept, by repository. Digests are `sha256:…`; one of another form is an `InvalidError`."""

    async def get_blob(self, repository: str, digest: str) -> StoredBlob:
        """A blob that was uploaded to this repository; `NotFoundError` otherwise."""
        ...

    async def mount(self, repository: str, source: str, digest: str) -> bool:
        """Have a blob of the repository `source` in this one, too; False if it is not there."""
        ...

    async def get_manifest(self, repository: str, reference: str) -> StoredManifest:
        """By tag or digest; `NotFoundError`."""
        ...

    async def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> str:
        """Keep it, under a tag or by its digest, which is returned; durable then. `InvalidError` names what is wrong or missing."""
        ...


class Uploads(Protocol):
    """Blobs on their way in. They outlive a restart. `NotFoundError` for one that is not known, or another repository's."""

    async def start(self, repository: str) -> str:
        """The ID of a new one; `ExhaustedError` where the repository or the disk has no room."""
        ...

    async def append(self, repository: str, upload_id: str, start: int | None, chunks: AsyncIterator[bytes]) -> int:
        """The size after adding `chunks`, which must begin at the byte `start` if it is said (`ConflictError` otherwise).

        What came stays when the rest does not, or the caller is cancelled. `ExhaustedError` when it becomes too large, and then it is gone.
        """
        ...

    async def complete(self, repository: str, upload_id: str, digest: str) -> None:
        """Make it a blob of the repository, durably; `InvalidError` when the content has another digest, and then it is gone."""
        ...

    async def get_size(self, repository: str, upload_id: str) -> int:
        """The bytes that have come."""
        ...

    async def cancel(self, repository: str, upload_id: str) -> None:
        """Give it up."""
        ...
