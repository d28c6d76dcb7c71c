"""From a command to a running child with its pipes or its terminal (data-plane contract §2.4)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sandbank.domain.errors import ExhaustedError, InvalidError
from sandbank.envd.accounts import Account

_OOM_SCORE = "/proc/self/oom_score_adj"
_OOM_SCORE_OF_COMMANDS = "100"
_NO_ROOM = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC})
# `exec "$@"` makes the shell answer for a command that does not exist (127) or cannot run (126).
_ANSWERING = ("/bin/sh", "-c", 'exec "$@"', "--")
# The first terminal that a session's leader opens becomes the session's; the name comes first among the arguments.
_TAKING_TERMINAL = ("/bin/sh", "-c", '{ : <>"$1"; } 2>/dev/null; shift; exec "$@"', "--")


@dataclass(frozen=True)
class Command:
    """What to run, for whom and where. `window` is (columns, rows) of a terminal, None for pipes."""

    arguments: Sequence[str]
    environment: dict[str, str]
    directory: str
    account: Account
    groups: Sequence[int]
    window: tuple[int, int] | None
    with_stdin: bool


@dataclass
class Child:
    """A running child and our ends of what connects it; all descriptors are non-blocking."""

    pid: int
    stdin: int | None
    outputs: dict[str, int]
    """By the name of the event that carries it: `stdout` and `stderr`, or `pty`."""
    terminal: int | None


def set_window(terminal: int, columns: int, rows: int) -> None:
    """Resize a terminal; the kernel tells its foreground group."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", min(rows, 0xFFFF), min(columns, 0xFFFF), 0, 0))


def check_directory(path: str, account: Account, groups: Sequence[int]) -> None:
    """`InvalidError` unless `path` is a directory the user may enter.

    The child changes directory before it gives up root, so the kernel does not check this for us. By mode bits alone: access lists
    are not consulted.
    """
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise InvalidError(f"error starting process: chdir {path}: not a directory")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidError(f"cwd '{path}' does not exist") from error
    except OSError as error:
        raise InvalidError(f"error starting process: chdir {path}: {error.strerror}") from error
    if account.uid == 0:
        return
    current = os.path.realpath(path)
    while True:
        status = os.stat(current)
        bit = stat.S_IXUSR if status.st_uid == account.uid else stat.S_IXGRP if status.st_gid in groups else stat.S_IXOTH
        if not status.st_mode & bit:
            raise InvalidError(f"error starting process: fork/exec /bin/sh: permission denied (cwd '{path}')")
        if current == "/":
            return
        current = os.path.dirname(current)


def spawn(command: Command) -> Child:
    """Start the command. The caller reaps `Child.pid` and closes the descriptors.

    `InvalidError` when it cannot be started, `ExhaustedError` when there is no room for another process, its pipes or its terminal.
    """
    check_directory(command.directory, command.account, command.groups)
    try:
        return _spawn_on_pipes(command) if command.window is None else _spawn_on_terminal(command, *command.window)
    except OSError as error:
        category = ExhaustedError if error.errno in _NO_ROOM else InvalidError
        raise category(f"error starting process: {error.strerror}") from error
    except (ValueError, subprocess.SubprocessError) as error:
        raise InvalidError(f"error starting process: {error}") from error


def _spawn_on_terminal(command: Command, columns: int, rows: int) -> Child:
    master, slave = os.openpty()
    try:
        set_window(master, columns, rows)
        os.fchown(slave, command.account.uid, command.account.gid)
        os.fchmod(slave, 0o620)
        with _oom_score_of_commands():
            pid = _execute(command, (*_TAKING_TERMINAL, os.ttyname(slave), *command.arguments), (slave, slave, slave))
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    os.set_blocking(master, False)
    return Child(pid, None, {"pty": master}, master)


def _spawn_on_pipes(command: Command) -> Child:
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for writes in (False, True, True):
            if not writes and not command.with_stdin:
                theirs.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
                continue
            reader, writer = os.pipe2(os.O_CLOEXEC)
            os.fchown(reader, command.account.uid, command.account.gid)  # of the whole pipe: /dev/stderr can be opened, too
            ours.append(reader if writes else writer)
            theirs.append(writer if writes else reader)
        with _oom_score_of_commands():
            pid = _execute_quickly(command, theirs)
    except BaseException:
        for descriptor in ours:
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    for descriptor in ours:
        os.set_blocking(descriptor, False)
    stdin = ours.pop(0) if command.with_stdin else None
    return Child(pid, stdin, {"stdout": ours[0], "stderr": ours[1]}, None)


def _execute_quickly(command: Command, descriptors: Sequence[int]) -> int:
    """Without the shell where it would only step aside; whatever is wrong with the program, the shell finds the words for it."""
    if "/" in command.arguments[0]:
        try:
            return _execute(command, command.arguments, descriptors)
        except OSError as error:
            if error.errno in _NO_ROOM or error.errno == errno.E2BIG:
                raise
    return _execute(command, (*_ANSWERING, *command.arguments), descriptors)


def _execute(command: Command, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """Fork and execute; no descriptor but the three goes along, signals are as a fresh program expects them."""
    stdin, stdout, stderr = descriptors
    wanted = (command.account.uid, command.account.gid, set(command.groups))
    # Without a change of user there is vfork, which copies no page tables: five times as quick.
    changes = wanted != (os.getuid(), os.getgid(), {os.getgid(), *os.getgroups()})
    process = subprocess.Popen(
        [os.fsencode(argument) for argument in arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=os.fsencode(command.directory),
        env={os.fsencode(name): os.fsencode(value) for name, value in command.environment.items()},
        user=command.account.uid if changes else None,
        group=command.account.gid if changes else None,
        extra_groups=command.groups if changes else None,
        start_new_session=True,
        umask=0o022,
    )
    process.returncode = 0  # the table reaps all children in one place; this object is done
    return process.pid


@contextmanager
def _oom_score_of_commands() -> Iterator[None]:
    """Children are born with the agent's score, so it takes theirs for the moment of the fork: a child need not write the file itself.

    Going back to where one came from is always allowed. Where there is no such file commands run all the same.
    """
    try:
        descriptor = os.open(_OOM_SCORE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        own = os.read(descriptor, 16)
        _write_score(descriptor, _OOM_SCORE_OF_COMMANDS.encode())
        try:
            yield
        finally:
            _write_score(descriptor, own)
    finally:
        os.close(descriptor)


def _write_score(descriptor: int, score: bytes) -> None:
    with suppress(OSError):
        os.pwrite(descriptor, score, 0)
