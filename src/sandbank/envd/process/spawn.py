"""From a command to a running child with its pipes or its terminal (data-plane contract §2.4)."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import subprocess
import termios
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sandbank.domain.errors import InvalidError
from sandbank.envd.accounts import Account

# `exec "$@"` makes the shell answer for a command that does not exist (127) or cannot run (126). Raising one's own oom_score_adj is
# always allowed; where the file is missing the command runs all the same.
_WRAPPER = '{ echo 100 >/proc/self/oom_score_adj; } 2>/dev/null; exec "$@"'


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
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


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
    """Start the command; `InvalidError` when it cannot be. The caller reaps `Child.pid` and closes the descriptors."""
    check_directory(command.directory, command.account, command.groups)
    return _spawn_on_pipes(command) if command.window is None else _spawn_on_terminal(command, *command.window)


def _spawn_on_terminal(command: Command, columns: int, rows: int) -> Child:
    master, slave = os.openpty()
    try:
        set_window(master, columns, rows)
        os.fchown(slave, command.account.uid, command.account.gid)
        os.fchmod(slave, 0o620)
        # The preparation runs in the child after setsid: only a session's leader may take a terminal.
        pid = _execute(command, slave, slave, slave, lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
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
        pid = _execute(command, theirs[0], theirs[1], theirs[2], None)
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


def _execute(command: Command, stdin: int, stdout: int, stderr: int, prepare: Callable[[], object] | None) -> int:
    """Fork and execute; no descriptor but the three goes along, signals are as a fresh program expects them."""
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _WRAPPER, "--", *(os.fsencode(argument) for argument in command.arguments)],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=os.fsencode(command.directory),
            env={os.fsencode(name): os.fsencode(value) for name, value in command.environment.items()},
            user=command.account.uid,
            group=command.account.gid,
            extra_groups=command.groups,
            start_new_session=True,
            umask=0o022,
            preexec_fn=prepare,  # safe: this process has one thread
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InvalidError(f"error starting process: {error}") from error
    process.returncode = 0  # the table reaps all children in one place; this object is done
    return process.pid
