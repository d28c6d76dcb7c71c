"""Files that zygotes have their memory in, kept for as long as a sandbox or a snapshot has pages of one (ADR 0015)."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path


class Heaps:
    """The files of one node, a zygote's each, below `top`. Methods block."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._earlier: set[str] = set()
        self._mapped = re.compile(re.escape(f"{top}/") + r"(\w+)$", re.MULTILINE)

    def prepare(self) -> None:
        """Before the first zygote starts: what is there now is what may go."""
        self._top.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._earlier = {name for name in os.listdir(self._top) if not name.startswith(".")}

    def new(self) -> Path:
        """A path that no zygote has had."""
        return self._top / uuid.uuid4().hex

    def remove_unused(self, pids: Iterable[int], kept: Iterable[str]) -> None:
        """Remove those of earlier zygotes that none of these processes has mapped, and that have none of these names."""
        unused = self._earlier - set(kept)
        for pid in pids:
            with contextlib.suppress(OSError):
                unused -= set(self._mapped.findall(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")))
        for name in unused:
            (self._top / name).unlink(missing_ok=True)
        self._earlier -= unused
