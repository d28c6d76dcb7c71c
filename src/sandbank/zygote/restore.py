"""From a fork of the zygote to a CRIU that finds everything outside the frozen processes where it is to be."""

from __future__ import annotations

import os
import socket

from sandbank.runtime.drivers.namespaces.restore_request import CRIU_SOCKET, FIRST_FILE, RestoreRequest
from sandbank.runtime.linux import libc, mounts
from sandbank.runtime.rootfs import resources, stage
from sandbank.zygote import files
from sandbank.zygote.namespaces import limit_watches


def restore(request_fd: int, userns_fd: int, criu_fd: int, report_fd: int) -> None:
    """Become CRIU, in the sandbox's cgroups and in a mount namespace where the stage is built.

    Reports on `report_fd`: `pid N`, its own, or `error TEXT`. The pipe closes when CRIU runs.
    """
    step = "read the request"
    try:
        request = RestoreRequest.decode(files.read_all(request_fd))
        step = "join the cgroups"
        for path in request.join_cgroups:
            files.write(path, "0")
        # What is restored stays in the namespace that it is restored from: there the sandbox's own group is the root of all.
        libc.unshare(libc.CLONE_NEWCGROUP)
        if request.processors:
            os.sched_setaffinity(0, request.processors)
        step = "build the stage"
        libc.unshare(libc.CLONE_NEWNS)
        mounts.make_private()
        stage.prepare(request.stage, request.layers, request.upper, userns_fd, request.show_cgroups, request.volumes)
        resources.prepare(request.memory_bytes, request.cpu_count, request.base_uid)
        step = "open the agent's files"
        _arrange(criu_fd, request.files, report_fd)
        os.write(report_fd, b"pid %d\n" % os.getpid())
        step = "start CRIU"
        os.chdir("/")
        os.execv(request.criu[0], [*request.criu, "swrk", str(CRIU_SOCKET)])
    except OSError as error:
        os.write(report_fd, f"error {step}: {error}\n".encode())
        os._exit(1)


def _arrange(criu_fd: int, paths: list[str], report_fd: int) -> None:
    os.set_inheritable(report_fd, False)
    os.dup2(criu_fd, CRIU_SOCKET)
    for number, path in enumerate(paths, FIRST_FILE):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(descriptor, number)
        os.close(descriptor)


def furnish(request_fd: int, userns_fd: int, mountns_fd: int, report_fd: int) -> None:
    """Mount the root file system on CRIU's stage, owned by the user namespace that CRIU has just made; answers `done` or `error TEXT`.

    Only so do programs with the set-user-ID bit have it for those inside.
    """
    step = "read the request"
    try:
        request = RestoreRequest.decode(files.read_all(request_fd))
        step = "enter the stage"
        libc.setns(mountns_fd, libc.CLONE_NEWNS)
        os.chdir(request.stage)
        step = "mount the root file system"
        mine, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            _make_root(theirs, userns_fd, len(request.layers))
        theirs.close()
        said, descriptors, _, _ = socket.recv_fds(mine, 512, 1)
        os.waitpid(pid, 0)
        if not descriptors:
            raise OSError(said.decode(errors="replace") or "it ended early")
        mounts.attach(descriptors[0], stage.ROOT)
        os.write(report_fd, b"done\n")
    except OSError as error:
        os.write(report_fd, f"error {step}: {error}\n".encode())
        os._exit(1)


def _make_root(peer: socket.socket, userns_fd: int, layer_count: int) -> None:
    try:
        libc.setns(userns_fd, libc.CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        limit_watches()
        libc.unshare(libc.CLONE_NEWNS)  # whose owner may mount
        tree = mounts.overlay(stage.overlay_parameters(layer_count), mounts.MOUNT_ATTR_NODEV)
        socket.send_fds(peer, [b"root"], [tree])
    except OSError as error:
        peer.send(str(error).encode())
    finally:
        os._exit(0)
