"""Where an image's parts come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Protocol

from sandbank.registry.manifest import Descriptor


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index as it was found. `digest` is computed from `body`."""

    body: bytes
    media_type: str
    digest: str


class ImageSource(Protocol):
    """One image of a registry or of a directory. What it returns or writes is what its digest says, or a domain error."""

    async def top(self) -> Document:
        """What its reference names."""

    async def document(self, descriptor: Descriptor) -> Document:
        """A manifest or a configuration."""

    async def blob(self, descriptor: Descriptor, file: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        """A layer, written to the empty `file`; `on_bytes` hears how many there are of it so far."""
