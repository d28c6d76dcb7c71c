"""Making a user namespace with its uid range, and a network namespace that belongs to it."""

from __future__ import annotations

import os
import socket

from sandbank.runtime.linux import libc, privileges

UID_COUNT = 65536


def make(base_uid: int, reply_fd: int) -> None:
    """Answer on `reply_fd` with two descriptors, user and network namespace; then this process has nothing left to do.

    The network namespace is made from within the user namespace, which thereby owns it: a checkpoint is refused otherwise.
    """
    reply = socket.socket(fileno=os.dup(reply_fd))
    mine, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        mine.close()
        _unshare(theirs, base_uid)
    theirs.close()
    try:
        _expect(mine, b"user")
        for kind in ("uid", "gid"):
            with open(f"/proc/{pid}/{kind}_map", "w", encoding="ascii") as file:
                file.write(f"0 {base_uid} {UID_COUNT}")
        mine.send(b"mapped")
        _expect(mine, b"net")
        descriptors = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net")]
        socket.send_fds(reply, [b"namespaces"], descriptors)
    finally:
        mine.close()
        os.waitpid(pid, 0)
    os._exit(0)


def _expect(peer: socket.socket, word: bytes) -> None:
    said = peer.recv(256)
    if said != word:
        raise OSError(said.decode(errors="replace") or "the helper ended early")


def _unshare(peer: socket.socket, base_uid: int) -> None:
    try:
        # What the kernel counts by user (inotify instances and watches, queued signals, locked memory) it counts again, in the namespace
        # above, for who made this one: made as root, all sandboxes and the node's root would share one allowance.
        os.seteuid(base_uid)
        privileges.regain_capabilities()  # some distributions let only the privileged make user namespaces
        libc.unshare(libc.CLONE_NEWUSER)
        peer.send(b"user")
        if peer.recv(16) == b"mapped":
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            libc.unshare(libc.CLONE_NEWNET)
            peer.send(b"net")
            peer.recv(16)  # until the other end is closed: the namespaces live as long as this process
    except OSError as error:
        peer.send(str(error).encode())
    finally:
        os._exit(0)
