"""How a detached service tells the command that started it how the start went."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from sandbank.cli.credentials import Credentials


@dataclass(frozen=True)
class Handover:
    """How the start of a detached service went, as one line of JSON through a pipe; the pipe's end without it means it died."""

    error: str = ""
    credentials: Credentials | None = None

    def write(self, descriptor: int) -> None:
        """Say it, once."""
        credentials = None if self.credentials is None else {**vars(self.credentials)}
        with os.fdopen(descriptor, "w") as pipe:
            json.dump({"error": self.error, "credentials": credentials}, pipe)

    @classmethod
    def read(cls, descriptor: int) -> Handover | None:
        """Wait for it; `None` when the service died without a word."""
        with os.fdopen(descriptor) as pipe:
            text = pipe.read()
        if not text:
            return None
        fields = json.loads(text)
        return cls(fields["error"], Credentials(**fields["credentials"]) if fields["credentials"] else None)


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log, for the text of a failure."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
