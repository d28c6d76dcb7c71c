"""Files of zygotes' memory are removed when nothing needs them, and not before."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from sandbank.runtime.drivers.namespaces.heaps import Heaps


def test_only_those_of_earlier_zygotes_that_nothing_needs_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "heaps"
    earlier = Heaps(top)
    earlier.prepare()
    saved, mapped, unused = (earlier.new() for _ in range(3))
    for path in (saved, mapped, unused):
        path.write_bytes(b"x" * mmap.PAGESIZE)
    heaps = Heaps(top)
    heaps.prepare()
    current = heaps.new()
    current.touch()
    with mapped.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        heaps.remove_unused([os.getpid(), 2**22 - 1], [saved.name])
        assert set(top.iterdir()) == {saved, mapped, current}
    heaps.remove_unused([os.getpid()], [])
    assert set(top.iterdir()) == {current}
