"""From a fork of the zygote to pid 1 of a sandbox. Every line here runs once per create, so it is short of everything it can do without."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable

from sandbank.runtime.drivers.namespaces.restore_request import FURNISH, RESTORE
from sandbank.runtime.drivers.namespaces.spawn_request import SPAWN, SpawnRequest
from sandbank.runtime.linux import libc, mounts, privileges, seccomp, title
from sandbank.runtime.rootfs import resources, root, stage
from sandbank.zygote import files, init, restore

ENVD_PORT = 49983
_BACKLOG = 1024
_MAX_DESCRIPTORS = 6
# Below the sandbox's own processes, which the agent puts at +100: when memory runs out, they go first. Not below zero: what root of the
# node writes is also the least that anything inside can give itself, and the node's own processes shall not have to go before those.
_OOM_SCORE = 50
_LIMITS = {resource.RLIMIT_NOFILE: 1_048_576, resource.RLIMIT_NPROC: resource.RLIM_INFINITY}


def preload() -> None:
    """Do once in the zygote what is the same for all."""
    seccomp.program()
    resources.processors()


def wait(descriptor: int) -> None:
    """Be a fork made ahead: do what no request changes, then what the one datagram on `descriptor` asks; end when there is none.

    Such a fork shares the zygote's memory and holds nothing of any sandbox. It ends with the service, whose end of the socket closes.
    """
    files.write("/proc/self/oom_score_adj", str(_OOM_SCORE))
    _set_limits()
    with socket.socket(fileno=descriptor) as peer:
        data, descriptors, _flags, _address = socket.recv_fds(peer, 64, _MAX_DESCRIPTORS)
        # Closed by the block's end: nothing of the service is left here but what came with the request.
    work, count = _WORK.get(data.decode(errors="replace"), (None, 0))
    if work is not None and len(descriptors) == count:
        work(*descriptors)
        os._exit(0)
    os._exit(0 if not data else 1)


def spawn(request_fd: int, userns_fd: int, netns_fd: int, report_fd: int) -> None:
    """Become the parent of a sandbox's pid 1, report its pid, and exit.

    Reports are lines on `report_fd`: `pid N`, then `ready` or `error TEXT`. The pipe closes without `ready` when it came to nothing.
    """
    step = "read the request"
    try:
        request = SpawnRequest.decode(files.read_all(request_fd))
        step = "join the cgroups"
        for path in request.join_cgroups:
            files.write(path, "0")
        if request.processors:
            os.sched_setaffinity(0, request.processors)
        step = "enter the network namespace"
        libc.setns(netns_fd, libc.CLONE_NEWNET)
        step = "build the stage"
        libc.unshare(libc.CLONE_NEWNS)
        mounts.make_private()
        volumes = [directory for directory, _ in request.volumes]
        stage.prepare(request.stage, request.layers, request.upper, userns_fd, request.show_cgroups, volumes)
        step = "enter the user namespace"
        libc.setns(userns_fd, libc.CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setgroups([])
        libc.unshare(libc.CLONE_NEWUTS | libc.CLONE_NEWIPC | libc.CLONE_NEWPID | libc.CLONE_NEWCGROUP | libc.CLONE_NEWNS)
        step = "fork pid 1"
        pid = os.fork()
    except OSError as error:
        _report(report_fd, f"error {step}: {error}")
        os._exit(1)
    if pid:
        # Only from out here is the node's number of that process known.
        _report(report_fd, f"pid {pid}")
        os._exit(0)
    _become_init(request, report_fd)


def _become_init(request: SpawnRequest, report_fd: int) -> None:
    step = "set up pid 1"
    try:
        os.setsid()
        os.umask(0o022)
        privileges.set_dumpable()
        socket.sethostname(request.hostname)
        step = "mount the root file system"
        paths = [path for _, path in request.volumes]
        sizes = (request.shared_memory_bytes, request.memory_bytes, request.cpu_count)
        root.enter(len(request.layers), request.hostname, *sizes, request.boot_id, paths)
        step = "let go of the node's descriptors"
        _keep_only(report_fd)
        step = "listen"
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", ENVD_PORT))  # noqa: S104  # inside the sandbox's own network
        listener.listen(_BACKLOG)
        step = "drop privileges"
        privileges.drop_bounding_set(privileges.KEPT_MASK)
        seccomp.install()
        privileges.limit_capabilities(privileges.KEPT_MASK)
    except OSError as error:
        _report(report_fd, f"error {step}: {error}")
        os._exit(1)
    init.run(listener, request.agent, report_fd, title.argument_area())


def _set_limits() -> None:
    """As generous as this node may be. Processes are counted by the cgroup; a limit per uid would only confuse."""
    for kind, wanted in _LIMITS.items():
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            wanted = most if wanted == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (wanted, most if most == resource.RLIM_INFINITY else max(wanted, most)))
    # No core files, and none for a program of the node's either: see the filter, which keeps it so.
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def _keep_only(descriptor: int) -> None:
    """Close everything else, and make standard input and output the sandbox's own null device."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, _highest_descriptor() + 1)


def _highest_descriptor() -> int:
    return max(int(name) for name in os.listdir("/proc/self/fd"))


def _report(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


# What such a fork can be asked for, and the number of descriptors that come with it.
_WORK: dict[str, tuple[Callable[..., None], int]] = {SPAWN: (spawn, 4), RESTORE: (restore.restore, 3), FURNISH: (restore.furnish, 6)}
