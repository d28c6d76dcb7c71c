"""CRIU's log, and what of it a user can do something with."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from pathlib import Path

_MOST_BYTES = 4 * 1024 * 1024  # from its end: CRIU stops soon after its first error
_MOST_CHARACTERS = 240
_ERROR = re.compile(r"^(?:\(\d+\.\d+\)\s*|pie: )?(?:\d+:\s*)?Error \([^)]*:\d+\):\s*(?P<text>.*)$")
_NO_SPACE = re.compile(r": (?:No space left on device|Disk quota exceeded|File too large)$")
# Said of the way CRIU is run, or by what only passes another's failure on.
_NOISE = re.compile(
    r"rlimit: Can't setup|(?:Dumping|Restoring) FAILED|Dump [\w ]+\(pid: \d+\) failed with|Can't dump (?:misc|threads?|core)\b"
    r"|RPC client reported|action scripts failed|script failed with|exited, status=|killed by signal"
)


def _socket_of(found: re.Match[str]) -> str:
    family = int(found["family"])
    with contextlib.suppress(ValueError):
        return f"a socket of a kind that cannot be saved is open: {socket.AddressFamily(family).name}"
    return f"a socket of a kind that cannot be saved is open: family {family}"


# CRIU's words (4.2) for what has no copy, and ours: with the groups of the match put in, or made of the match.
_REASONS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"of that type \[\d+\] \(chr (?P<what>[\d:]+)", "a device is open: {what}"),
        (r"send_fds failed \(-22\)", "a process uses io_uring"),  # the only descriptors that the kernel lets nobody pass on
        (r"of that type \[\d+\] \(anon anon_inode:\[?(?P<what>[\w:-]+)", "a process uses {what}"),
        (r"of that type \[\d+\] \(\w+ (?P<what>.*)\)", "a file of a kind that cannot be saved is open: {what}"),
        (r"non-regular mapping|Unsupported mapping found", "a process has mapped memory of a device or of io_uring"),
        (r"(?:Sockets \(|collected \(|socket )family:? (?P<family>\d+)", _socket_of),
        (r"Unsupported proto (?P<what>\d+) for socket", "an internet socket of protocol {what} is open, which cannot be saved"),
        (r"Only stream, dgram and raw are supported", "an internet socket of a type that cannot be saved is open"),
        (r"corked dgram socket", "a UDP socket holds a datagram that is only half written"),
        (r"In-flight connection", "a connection is waiting to be accepted"),
        (r"unix: Unsupported type", "a Unix socket of a type that cannot be saved is open"),
        (r"External socket is used|half of stream unix|name-less external socket", "a Unix socket is connected to the world outside"),
        (r"netlink.*has data to read|sknetlink: The socket has data", "a netlink socket holds unread messages"),
        (r"netlink socket \w+ (?:has more than|is bound)|Groups above 32", "a netlink socket listens in a way that cannot be saved"),
        (r"external network namespace", "a socket of another network namespace is open"),
        (
            r"suitable path for handle|Can't dump that handle|lookup a mount by dev",
            "a watched file (inotify, fanotify) has no name any more",
        ),
        (r"ghost file (?P<what>.*) of (?P<size>\d+) size", "a deleted file of {size} bytes is still open: {what}"),
        (r"link remap (?:to|for) (?P<what>.*)", "a deleted file that has other names is still open: {what}"),
        (r"file locks are hold", "a process holds a file lock"),
        (r"Unseizable non-zombie|can't interrupt task|pending SIGTRAP", "a process is being debugged or traced"),
        (
            r"nested (?P<what>\w+) namespace|Nested (?P<other>mount) namespaces",
            "a process has made a namespace of its own (containers inside)",
        ),
        (r"belong to the target user namespace", "a process has made a user namespace of its own (containers inside)"),
        (r"Can't lookup mount=\S+ for fd=\S+ path=(?P<what>.*)", "a file is open that is on no mount of the sandbox: {what}"),
        (r"on overmounted mounts .*path=(?P<what>.*)", "a file is open that a later mount hides: {what}"),
        (r"FS mnt (?P<what>\S+) .*unsupported id", "a file system is mounted that cannot be saved: {what}"),
        (r"dumping BPF map type", "a process uses bpf-map"),
        (r"PIDFD_THREAD", "a process has a descriptor of a thread open (pidfd)"),
        (r"A session leader of", "a process belongs to a session that began outside"),
        (r"ctty inheritance|Found (?:dangling tty|slave peer index)", "a process has a terminal that was opened outside"),
        (r"queued data overflow", "a terminal holds too much unread output"),
        (r"Unable to freeze cgroup|Timeout reached", "the processes did not stop in time"),
        (r"File (?P<what>\S+) has bad (?:size|mode|build-ID)", "a file is not what it was: {what}"),
        (r"Can't fork for (?P<what>\d+): File exists|Pid (?P<pid>\d+) do not match", "a process id of the snapshot is taken"),
        (r"Can't bind inet socket", "an address that a process had is not there"),
        (r"(?i)cpu: .*(?:mismatch|not match|not present|missing|required)", "this processor lacks what the saved one had"),
    )
)


def read_errors(log: Path) -> list[str]:
    """`find_errors` of the log; none when there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _MOST_BYTES))
            return find_errors(file.read(_MOST_BYTES).decode(errors="replace"))
    except OSError:
        return []


def find_errors(text: str) -> list[str]:
    """The error lines that say something, without where in CRIU they come from."""
    found = (_ERROR.match(line) for line in text.split("\n"))
    return [match["text"].strip() for match in found if match is not None and not _NOISE.search(match["text"])]


def explain(said: list[str]) -> str:
    """What those error lines mean, in one line: the first that names a cause, else the first. Names in it are those inside."""
    for text in said:
        for pattern, meaning in _REASONS:
            if match := pattern.search(text):
                return _line(meaning.format(**match.groupdict()) if isinstance(meaning, str) else meaning(match))
    return _line(said[0]) if said else ""


def lacks_space(said: list[str]) -> bool:
    """Whether it was the disk that was full."""
    return any(_NO_SPACE.search(text) for text in said)


def _line(text: str) -> str:
    # File names come from inside: anything may be in them.
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
