"""A process's memory in a file: the same to it and to its forks, and no longer its own (ADR 0015)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Of its own, since what is done to it cannot be undone.
_PROGRAM = """
import gc, os, sys
from sandbank.zygote import heap

def own_kib():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

kept = [str(number) for number in range(100_000)]
gc.collect()
before = own_kib()
moved = heap.move_into(sys.argv[1])
after = own_kib()
assert sum(map(int, kept)) == 4_999_950_000
if not os.fork():
    kept.clear()  # its own change to it
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert sum(map(int, kept)) == 4_999_950_000
print(moved, before, after)
"""


def _run(path: Path, *limit: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*limit, sys.executable, "-c", _PROGRAM, str(path)], capture_output=True, text=True, check=False)


def test_what_is_in_memory_is_the_files_and_still_there(tmp_path: Path) -> None:
    path = tmp_path / "heap"
    done = _run(path)
    assert done.returncode == 0, done.stderr
    moved, before, after = map(int, done.stdout.split())
    assert moved == path.stat().st_size > 8 << 20
    assert after < before / 4
    assert path.stat().st_mode & 0o777 == 0o644


def test_no_file_is_taken_for_its_own(tmp_path: Path) -> None:
    path = tmp_path / "heap"
    path.write_text("another's")
    done = _run(path)
    assert "FileExistsError" in done.stderr
    assert path.read_text() == "another's"


@pytest.mark.parametrize("limit", [0, 64 << 10, 4 << 20])
def test_a_file_that_cannot_grow_leaves_the_rest_in_memory(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "heap"
    done = _run(path, "prlimit", f"--fsize={limit}")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) <= limit
