"""The filter, run by an interpreter of its own small language."""

from __future__ import annotations

import errno
import struct

import pytest

from sandbank.runtime.linux import seccomp

ALLOWED, PRETENDED = "allowed", 0
X86_64, I386 = 0xC000003E, 0x40000003


def verdict(number: int, *arguments: int, architecture: int = X86_64) -> str | int:
    """What the kernel would do with the call: `ALLOWED`, or the errno."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *padded)
    code = list(struct.iter_unpack("=HBBI", seccomp.program()))
    accumulator = position = 0
    while True:
        kind, if_true, if_false, constant = code[position]
        position += 1
        match kind:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, constant)
            case 0x15:
                position += if_true if accumulator == constant else if_false
            case 0x25:
                position += if_true if accumulator > constant else if_false
            case 0x35:
                position += if_true if accumulator >= constant else if_false
            case 0x45:
                position += if_true if accumulator & constant else if_false
            case 0x06:
                return ALLOWED if constant == 0x7FFF0000 else constant & 0xFFFF  # zero: the caller sees success, nothing is done
            case _:
                raise AssertionError(f"unknown instruction {kind:#x}")


def call(name: str, *arguments: int) -> str | int:
    return verdict(seccomp.NUMBERS[name], *arguments)


@pytest.mark.parametrize("name", sorted(seccomp.NUMBERS))
def test_every_known_call_is_decided_as_the_table_says(name: str) -> None:
    if name in seccomp.REFUSED:
        assert call(name) == errno.EPERM
    elif name in ("clone3", "io_setup"):
        assert call(name) == errno.ENOSYS
    elif name in ("sync", "syncfs"):
        assert call(name) == PRETENDED
    elif name == "socket":
        assert call(name, 1) == ALLOWED
    else:
        assert call(name) == ALLOWED


@pytest.mark.parametrize(
    ("name", "number"), [("read", 0), ("execve", 59), ("seccomp", 317), ("rseq", 334), ("clone3", 435), ("futex_waitv", 449)]
)
def test_the_table_counts_right(name: str, number: int) -> None:
    assert seccomp.NUMBERS[name] == number


@pytest.mark.parametrize("number", [335, 400, 423, 451, 470, 1000, 0x3FFFFFFF])
def test_unknown_calls_do_not_exist(number: int) -> None:
    assert verdict(number) == errno.ENOSYS


@pytest.mark.parametrize("number", [0x40000000, 0x40000000 + 59])
def test_x32_does_not_exist(number: int) -> None:
    assert verdict(number) == errno.ENOSYS


def test_32_bit_calls_do_not_exist() -> None:
    assert verdict(11, architecture=I386) == errno.ENOSYS


@pytest.mark.parametrize("flag", [0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_makes_no_namespace(flag: int) -> None:
    assert call("clone", flag | 17) == errno.EPERM


def test_clone_makes_processes_and_threads() -> None:
    assert call("clone", 17) == ALLOWED
    assert call("clone", 0x3D0F00) == ALLOWED


@pytest.mark.parametrize("family", [1, 2, 10])
def test_ordinary_sockets(family: int) -> None:
    assert call("socket", family, 1, 0) == ALLOWED


@pytest.mark.parametrize("family", [2, 10])
@pytest.mark.parametrize("protocol", [33, 115, 132, 136, 256, 262])
def test_no_protocol_that_kernels_load_when_asked(family: int, protocol: int) -> None:
    """DCCP, L2TP, SCTP, UDP-Lite, SMC, Multipath TCP."""
    assert call("socket", family, 1, protocol) == errno.EPROTONOSUPPORT


@pytest.mark.parametrize("protocol", [0, 1, 6, 17, 58])
def test_protocols_of_every_day(protocol: int) -> None:
    assert call("socket", 2, 1, protocol) == call("socket", 10, 2, protocol) == ALLOWED


def test_nothing_is_put_on_top_of_tcp() -> None:
    assert call("setsockopt", 3, 6, 31) == errno.ENOENT
    assert call("setsockopt", 3, 6, 1) == call("setsockopt", 3, 1, 31) == ALLOWED


@pytest.mark.parametrize("pointer", [0x7FFF12345678, 0x7FFF00000000, 0x1000])
def test_the_limit_of_core_files_is_left_alone(pointer: int) -> None:
    assert call("setrlimit", 4, pointer) == PRETENDED
    assert call("prlimit64", 0, 4, pointer, 0) == PRETENDED
    assert call("prlimit64", 0, 4, pointer, pointer) == errno.EPERM
    assert call("prlimit64", 0, 4, 0, pointer) == ALLOWED
    assert call("setrlimit", 7, pointer) == call("prlimit64", 0, 7, pointer, pointer) == ALLOWED


def test_netlink_is_for_routes_only() -> None:
    assert call("socket", 16, 3, 0) == ALLOWED
    assert call("socket", 16, 3, 12) == errno.EAFNOSUPPORT


@pytest.mark.parametrize("family", [0, 3, 4, 17, 29, 38, 40, 44])
def test_other_socket_families_are_refused(family: int) -> None:
    assert call("socket", family, 2, 0) == errno.EAFNOSUPPORT


def test_terminal_input_cannot_be_faked() -> None:
    assert call("ioctl", 0, 0x5412) == errno.EPERM
    assert call("ioctl", 0, 0x541C) == errno.EPERM
    assert call("ioctl", 0, 0x5413) == ALLOWED


def test_personality() -> None:
    assert call("personality", 0xFFFFFFFF) == ALLOWED
    assert call("personality", 0x0400000) == errno.EPERM
