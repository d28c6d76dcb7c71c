"""The files of volumes, for whoever has a token (rest-api contract §19)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sandbank.api.core.volumes import Volume, VolumeRecords
from sandbank.domain.errors import DeniedError, NotFoundError
from sandbank.domain.volume import VolumeFileTarget


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a volume, as its node describes it. Times are aware UTC."""

    name: str
    path: str
    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    accessed_at: datetime
    modified_at: datetime
    changed_at: datetime
    target: str | None


@dataclass(frozen=True, slots=True)
class Ownership:
    """What a caller says of a new or changed entry."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class TokenReader(Protocol):
    """What a token is for."""

    def read(self, token: str) -> tuple[str, str]: ...


class VolumeFiles(Protocol):
    """The files on the nodes; every method raises domain errors."""

    async def stat(self, target: VolumeFileTarget) -> Entry: ...

    async def list(self, target: VolumeFileTarget, depth: int) -> Sequence[Entry]: ...

    async def make_directory(self, target: VolumeFileTarget, ownership: Ownership, *, parents: bool) -> Entry: ...

    async def change(self, target: VolumeFileTarget, ownership: Ownership) -> Entry: ...

    async def remove(self, target: VolumeFileTarget) -> None: ...

    async def read(self, target: VolumeFileTarget) -> tuple[int, AsyncIterator[bytes]]: ...

    async def write(self, target: VolumeFileTarget, ownership: Ownership, content: AsyncIterator[bytes], *, force: bool) -> Entry: ...


class VolumeContent:
    """Opens volumes to tokens; what is done with their files is the nodes' business."""

    def __init__(self, tokens: TokenReader, records: VolumeRecords, files: VolumeFiles) -> None:
        self._tokens = tokens
        self._records = records
        self._files = files
        self.stat = files.stat
        self.list = files.list
        self.make_directory = files.make_directory
        self.change = files.change
        self.remove = files.remove
        self.read = files.read
        self.write = files.write

    async def open(self, token: str, volume_id: str) -> Volume:
        """The volume, if the token is for it: `UnauthenticatedError`, `DeniedError`, or `NotFoundError` once it was deleted."""
        team_id, token_volume = self._tokens.read(token)
        if token_volume != volume_id:
            raise DeniedError("the token is for another volume")
        volume = await self._records.find(team_id, volume_id)
        if volume is None:
            raise NotFoundError("Volume not found")
        return volume
