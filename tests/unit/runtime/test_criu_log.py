"""What CRIU 4.2 writes when it cannot save something, and what its users read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.runtime.snapshot.criu_log import explain, find_errors, lacks_space, read_errors

_SAID = [
    ("(00.045097) Error (criu/files-ext.c:94): Can't dump file 3 of that type [20600] (chr 10:229)", "a device is open: 10:229"),
    ("pie: 18493: Error (criu/pie/parasite.c:588): send_fds failed (-22)", "a process uses io_uring"),
    (
        "(00.03) Error (criu/files-ext.c:94): Can't dump file 3 of that type [600] (anon anon_inode:[perf_event])",
        "a process uses perf_event",
    ),
    ("(00.03) Error (criu/files-ext.c:94): Can't dump file 3 of that type [600] (anon anon_inode:bpf-map)", "a process uses bpf-map"),
    (
        "(00.04) Error (criu/sockets.c:767): sockets: BUG! Unknown socket collected (family 40)",
        "a socket of a kind that cannot be saved is open: AF_VSOCK",
    ),
    (
        "(00.04) Error (criu/sk-inet.c:137): inet: Unsupported proto 262 for socket f229c5",
        "an internet socket of protocol 262 is open, which cannot be saved",
    ),
    ("(00.05) Error (criu/sk-netlink.c:77): netlink: The socket has data to read", "a netlink socket holds unread messages"),
    (
        "(00.04) Error (criu/sk-unix.c:881): unix: Can't dump half of stream unix connection. name: (null); peer name: (null)",
        "a Unix socket is connected to the world outside",
    ),
    (
        "(00.03) Error (criu/fsnotify.c:263): fsnotify: Can't find suitable path for handle (dev 0x2 ino 0x3): -2",
        "a watched file (inotify, fanotify) has no name any more",
    ),
    (
        "(00.03) Error (criu/files-reg.c:1031): Can't dump ghost file /tmp/a b of 5001216 size, increase limit",
        "a deleted file of 5001216 bytes is still open: /tmp/a b",
    ),
    (
        "(00.03) Error (criu/file-lock.c:110): Some file locks are hold by dumping tasks! You can try --file-locks",
        "a process holds a file lock",
    ),
    (
        "(00.04) Error (compel/src/lib/infect.c:262): Unseizable non-zombie 18842 found, state S, err -1/10",
        "a process is being debugged or traced",
    ),
    (
        "(00.03) Error (criu/namespaces.c:460): Can't dump nested uts namespace for 27801",
        "a process has made a namespace of its own (containers inside)",
    ),
    (
        "(00.1)     12: Error (criu/files-reg.c:2175): File usr/lib/x.so has bad size 1 (expect 2)",
        "a file is not what it was: usr/lib/x.so",
    ),
    ("(00.1) Error (criu/new.c:1): Something that nobody has seen before", "Something that nobody has seen before"),
]


@pytest.mark.parametrize(("line", "reason"), _SAID)
def test_each_obstacle_is_named(line: str, reason: str) -> None:
    assert explain(find_errors(line)) == reason


def test_what_only_passes_a_failure_on_is_no_reason(tmp_path: Path) -> None:
    log = tmp_path / "dump.log"
    log.write_text(
        "(00.026623) Warn  (criu/x.c:1): nothing\n"
        "(00.036682) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n"
        "(00.041237) Error (criu/parasite-syscall.c:280): Can't retrieve FDs from socket\n"
        "(00.041254) Error (criu/cr-dump.c:1545): Dump files (pid: 18403) failed with -1\n"
        "(00.041300) Error (criu/cr-dump.c:1975): Dumping FAILED.\n"
    )
    assert read_errors(log) == ["Can't retrieve FDs from socket"]
    assert read_errors(tmp_path / "none.log") == []
    assert explain([]) == ""


def test_a_known_cause_wins_over_what_was_said_first() -> None:
    assert explain(["Something odd", "inet: In-flight connection (l) for 7"]) == "a connection is waiting to be accepted"


def test_a_full_disk_is_told_from_the_rest() -> None:
    assert lacks_space(["Can't write img file: No space left on device"])
    assert not lacks_space(["Can't open file: No such file or directory"])


def test_names_from_inside_cannot_break_the_line() -> None:
    text = explain(["Can't dump ghost file /tmp/a\r\x1b[31m{0}" + "x" * 500 + " of 7 size, increase limit"])
    assert text.isprintable()
    assert len(text) < 300
