"""System calls made on behalf of another process, which must stand still meanwhile: some things only a process itself can have (ptrace(2)).

Calls of one `Tracee` must come from one thread: the kernel knows the tracer by it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbank.runtime.linux.libc import check, libc

_SINGLESTEP, _DETACH, _GETREGSET, _SETREGSET, _SEIZE, _INTERRUPT = 9, 17, 0x4204, 0x4205, 0x4206, 0x4207
_GETSIGMASK, _SETSIGMASK = 0x420A, 0x420B
_GENERAL = 1  # NT_PRSTATUS
_SYSCALL = b"\x0f\x05"
_REGISTERS = 27
_RAX, _RSI, _RDI, _RDX, _ORIG_RAX, _RIP, _RSP = 10, 13, 14, 12, 15, 16, 19
_BELOW_STACK = 4096  # beyond what functions may use without saying so
_MOST_STEPS = 8
CAN_CALL = platform.machine() == "x86_64"  # elsewhere registers have other names


class Tracee:
    """A process of this kernel, held while this is entered; only where `CAN_CALL`. `OSError` if it has ended or somebody else traces it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> Self:
        self._ptrace(_SEIZE, 0, 0)
        self._ptrace(_INTERRUPT, 0, 0)
        self._wait()
        self._mask = ctypes.c_uint64()
        self._ptrace(_GETSIGMASK, 8, ctypes.byref(self._mask))
        self._ptrace(_SETSIGMASK, 8, ctypes.byref(ctypes.c_uint64(-1)))  # else a signal could come between, and be lost
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ptrace(_SETSIGMASK, 8, ctypes.byref(self._mask))
        self._ptrace(_DETACH, 0, 0)

    def call(self, number: int, first: int, second: int, third: bytes) -> int:
        """A system call whose third argument points to these bytes; its result, `OSError` with the number of its failure."""
        kept = self._registers()
        place = (kept[_RSP] - _BELOW_STACK - len(third)) & ~15
        with open(f"/proc/{self._pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(place)
            below = memory.read(len(third))
            memory.seek(place)
            memory.write(third)
            try:
                registers = list(kept)
                # Nothing to be started again: what was interrupted is, once its own registers are back.
                registers[_ORIG_RAX] = -1 & (1 << 64) - 1
                registers[_RAX], registers[_RDI], registers[_RSI], registers[_RDX] = number, first, second, place
                registers[_RIP] = self._instruction(memory.fileno())
                self._set_registers(registers)
                result = self._step_over(registers[_RIP])
            finally:
                self._set_registers(kept)
                memory.seek(place)
                memory.write(below)
        if result > (1 << 64) - 4096:
            raise OSError((1 << 64) - result, os.strerror((1 << 64) - result))
        return result

    def _step_over(self, instruction: int) -> int:
        """One that was stopped before has a stop more to report, before it takes the step."""
        for _ in range(_MOST_STEPS):
            self._ptrace(_SINGLESTEP, 0, 0)
            self._wait()
            registers = self._registers()
            if registers[_RIP] != instruction:
                return registers[_RAX]
        raise OSError(f"process {self._pid} does not take a step")

    def _instruction(self, memory: int) -> int:
        """Where one is that enters the kernel: the vDSO has some, whatever the program is."""
        found = re.search(r"^([0-9a-f]+)-([0-9a-f]+) \S+ .*\[vdso\]$", Path(f"/proc/{self._pid}/maps").read_text(), re.MULTILINE)
        if found is None:
            raise OSError("the process has no vDSO")
        start, end = int(found[1], 16), int(found[2], 16)
        offset = os.pread(memory, end - start, start).find(_SYSCALL)
        if offset < 0:
            raise OSError("the process's vDSO has no system call")
        return start + offset

    def _wait(self) -> None:
        _, status = os.waitpid(self._pid, 0x40000000)  # __WALL
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError(f"process {self._pid} has ended")

    def _registers(self) -> list[int]:
        buffer = (ctypes.c_uint64 * _REGISTERS)()
        self._ptrace(_GETREGSET, _GENERAL, ctypes.byref(_Vector(ctypes.addressof(buffer), ctypes.sizeof(buffer))))
        return list(buffer)

    def _set_registers(self, values: list[int]) -> None:
        buffer = (ctypes.c_uint64 * _REGISTERS)(*values)
        self._ptrace(_SETREGSET, _GENERAL, ctypes.byref(_Vector(ctypes.addressof(buffer), ctypes.sizeof(buffer))))

    def _ptrace(self, request: int, address: int, data: object) -> None:
        result = libc.ptrace(ctypes.c_long(request), ctypes.c_long(self._pid), ctypes.c_void_p(address), data)
        check(result, "ptrace")


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
