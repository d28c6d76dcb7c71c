"""The small files that a sandbox reads of its size."""

from __future__ import annotations

import pytest

from sandbank.envd import meminfo, usage
from sandbank.runtime.rootfs.resources import _covers

GIB = 1 << 30


@pytest.mark.parametrize("limit", [GIB // 2, 8 * GIB, 60 * GIB, 500 * GIB])
def test_meminfo_is_as_long_in_the_beginning_as_whatever_the_agent_writes(limit: int) -> None:
    """Else whoever had it open when its sandbox was paused could not be brought back: CRIU compares sizes."""
    begun = _covers(limit, 1, "")["/proc/meminfo"]
    for memory in (usage.Memory(0, 0, 0), usage.Memory(limit // 3, limit // 3, limit // 7), usage.Memory(limit, limit, limit)):
        written = meminfo.render(limit, memory).decode()
        assert len(written) == len(begun)
        assert {line.split()[0] for line in written.splitlines()} == {line.split()[0] for line in begun.splitlines()}
    assert begun.startswith("MemTotal:       ")
