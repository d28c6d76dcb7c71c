"""System calls that are made for another process, at any moment of what it does."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbank.runtime.linux.tracing import Tracee

_PROGRAM = """
import os, select, signal, sys
locked = open(sys.argv[1], "w+")
signals = 0
def count(*_):
    global signals
    signals += 1
signal.signal(signal.SIGUSR1, count)
readable, _ = os.pipe()
print(locked.fileno(), flush=True)
n = 0
while True:
    n += 1
    assert select.select([readable], [], [], 0.002) == ([], [], [])
    assert sum(range(1000)) == 499500
    if n % 20 == 0: print(n, signals, flush=True)
"""
_FCNTL, _SETLK = 72, 6


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, str(tmp_path / "locked")], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def _lock(kind: int) -> bytes:
    return struct.pack("<hhxxxxqqixxxx", kind, 0, 0, 0, 0)


def test_calls_are_made_for_a_process_that_works_sleeps_or_is_stopped_and_it_notices_nothing(program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    descriptor = int(program.stdout.readline())
    facts, chance = Path(f"/proc/{program.pid}/fdinfo/{descriptor}"), random.Random(5)
    for number in range(100):
        time.sleep(chance.random() * 0.004)
        if number % 3 == 0:
            os.kill(program.pid, signal.SIGSTOP)
        os.kill(program.pid, signal.SIGUSR1)
        kind = (fcntl.F_WRLCK, fcntl.F_UNLCK)[number % 2]
        with Tracee(program.pid) as tracee:
            assert tracee.call(_FCNTL, descriptor, _SETLK, _lock(kind)) == 0
        assert ("POSIX" in facts.read_text()) == (kind == fcntl.F_WRLCK)
        os.kill(program.pid, signal.SIGCONT)
    with pytest.raises(OSError, match="Bad file descriptor"), Tracee(program.pid) as tracee:
        tracee.call(_FCNTL, 999, _SETLK, _lock(fcntl.F_WRLCK))
    for _ in range(3):  # and on it goes
        assert program.stdout.readline()
    assert program.poll() is None
