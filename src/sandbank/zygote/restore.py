"""From forks of the zygote to a CRIU that finds everything outside the frozen processes where it is to be."""

from __future__ import annotations

import os

from sandbank.runtime.drivers.namespaces.restore_request import (
    CRIU_SOCKET,
    FIRST_FILE,
    INOTIFY_INSTANCES,
    INOTIFY_WATCHES,
    STAGE,
    RestoreRequest,
)
from sandbank.runtime.linux import libc, mounts, privileges
from sandbank.runtime.rootfs import resources, stage
from sandbank.zygote import files


def restore(request_fd: int, criu_fd: int, report_fd: int) -> None:
    """Become CRIU, in the sandbox's cgroups and in a mount namespace of its own, as whose child the sandbox will come to be.

    Reports on `report_fd`: `pid N`, its own, or `error TEXT`. The pipe closes when CRIU runs.
    """
    step = "read the request"
    try:
        request = RestoreRequest.decode(files.read_all(request_fd))
        step = "join the cgroups"
        for path in request.join_cgroups:
            files.write(path, "0")
        # What is restored stays in the namespace that it is restored from: there the sandbox's own group is the root of all.
        libc.unshare(libc.CLONE_NEWCGROUP | libc.CLONE_NEWNS)
        mounts.make_private()
        if request.processors:
            os.sched_setaffinity(0, request.processors)
        step = "open the agent's files"
        os.set_inheritable(report_fd, False)
        for number, path in enumerate(request.files, FIRST_FILE):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.write(report_fd, b"pid %d\n" % os.getpid())
        step = "keep capabilities"
        privileges.keep_capabilities()
        step = "start CRIU"
        os.dup2(criu_fd, CRIU_SOCKET)
        os.chdir("/")
        os.execv(request.criu[0], [*request.criu, "swrk", str(CRIU_SOCKET)])  # noqa: S606  # the node's own settings say which
    except OSError as error:
        os.write(report_fd, f"error {step}: {error}\n".encode())
        os._exit(1)


def furnish(request_fd: int, mountns_fd: int, netns_fd: int, ipcns_fd: int, userns_fd: int, report_fd: int) -> None:
    """Build the stage in the mount namespace of a pid 1 that CRIU has just made, and the root file system on it.

    That has to belong to the new user namespace, or else programs with the set-user-ID bit would not have it for those inside.
    Answers `done` or `error TEXT`.
    """
    step = "read the request"
    try:
        request = RestoreRequest.decode(files.read_all(request_fd))
        step = "enter the namespaces"
        libc.setns(netns_fd, libc.CLONE_NEWNET)
        libc.setns(ipcns_fd, libc.CLONE_NEWIPC)
        libc.setns(mountns_fd, libc.CLONE_NEWNS)
        step = "build the stage"
        os.makedirs(STAGE, 0o755, exist_ok=True)
        stage.prepare(STAGE, request.layers, request.upper, userns_fd, request.show_cgroups, request.volumes)
        resources.prepare(request.memory_bytes, request.cpu_count, request.base_uid, request.boot_id)
        _own_queues(request.base_uid)
        step = "enter the user namespace"
        libc.setns(userns_fd, libc.CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        step = "mount the root file system"
        _limit_watches()
        mounts.mount("overlay", stage.ROOT, "overlay", mounts.MS_NODEV, stage.overlay_options(len(request.layers)))
        os.write(report_fd, b"done\n")
    except OSError as error:
        os.write(report_fd, f"error {step}: {error}\n".encode())
        os._exit(1)


def _limit_watches() -> None:
    """Root of the node owns the namespace, as CRIU has made it, and the kernel counts these for the owner too: none shall take them all."""
    files.write("/proc/sys/user/max_inotify_instances", str(INOTIFY_INSTANCES))
    files.write("/proc/sys/user/max_inotify_watches", str(INOTIFY_WATCHES))


def _own_queues(base_uid: int) -> None:
    """The directory of message queues belongs to who made their namespace, which was CRIU and not the sandbox's root."""
    mounts.mount("mqueue", stage.ROOT, "mqueue", mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)
    os.chown(stage.ROOT, base_uid, base_uid)
    mounts.unmount(stage.ROOT)
