"""The part that runs as the sandbox's own root, in its own namespaces: the overlay, /proc, /dev, and the pivot."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from sandbank.runtime.linux import mounts
from sandbank.runtime.linux.paths import make_directories
from sandbank.runtime.rootfs import resources, stage

# What a sandbox's root could read there of the node, or of everybody's keys. The rest of /proc's own refusals hold, since that root is
# nobody outside: /proc/kcore, kmsg, vmallocinfo and their like are the node's root's. Each mask costs a create some 50 microseconds.
_MASKED_FILES = (
    "keys",
    "key-users",
    "timer_list",
    "sched_debug",
    "latency_stats",
    "cmdline",
    "partitions",
    "diskstats",
    "interrupts",
    "locks",
)
_MASKED_DIRECTORIES = ("acpi", "scsi", "asound", "driver", "fs", "bus", "irq")
_READONLY_DIRECTORIES = ("sys", "tty")
# All sandboxes together get what `kernel.pty.max` leaves beside the node's own, 3072 by default: none of them shall have all of it.
_TERMINALS = 256


def enter(
    layer_count: int,
    hostname: str,
    shared_memory_bytes: int,
    memory_bytes: int,
    cpu_count: int,
    boot_id: str,
    volume_paths: Sequence[str] = (),
) -> None:
    """Mount everything on the prepared stage, which is the working directory, and make it the root.

    The caller is pid 1 of its pid namespace and uid 0 of its user namespace, with every namespace its own.
    """
    for name in ("upper", "work"):
        if not os.path.isdir(f"{stage.UPPER}/{name}"):
            os.mkdir(f"{stage.UPPER}/{name}", 0o755)
    root = stage.ROOT
    # Inside the user namespace: outside, the mounter's uid would be unmapped and the upper layer read-only.
    mounts.mount("overlay", root, "overlay", mounts.MS_NODEV, stage.overlay_options(layer_count))
    for name in ("dev", "proc", "sys"):
        _have_directory(f"{root}/{name}")
    mounts.bind(stage.DEVICES, f"{root}/dev", recursive=True)
    mounts.bind(stage.SYSTEM, f"{root}/sys", recursive=True)
    # Before the pivot: the kernel wants to see a whole /proc before it gives out another.
    mounts.mount("proc", f"{root}/proc", "proc", mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)
    terminals = f"newinstance,ptmxmode=0666,mode=0620,gid=5,max={_TERMINALS}"
    mounts.mount("devpts", f"{root}/dev/pts", "devpts", mounts.MS_NOSUID | mounts.MS_NOEXEC, terminals)
    no_programs = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    mounts.mount(
        "tmpfs", f"{root}/dev/{stage.SHARED_MEMORY}", "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, f"mode=1777,size={shared_memory_bytes}"
    )
    mounts.mount("mqueue", f"{root}/dev/mqueue", "mqueue", no_programs)
    _mask(f"{root}/proc", f"{root}/dev/null")
    resources.show(root, memory_bytes, cpu_count, boot_id)
    _show_volumes(root, volume_paths)
    mounts.pivot_into(root)
    # Only now: a template may have made any of these a link, and from in here no link leads to the node's files.
    os.makedirs("/etc", exist_ok=True)
    _write("/etc/hostname", f"{hostname}\n")
    _write("/etc/hosts", f"127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n")
    _write("/etc/resolv.conf", "nameserver 8.8.8.8\n")


def _have_directory(path: str) -> None:
    """To mount something at: an image may lack it, and a link there would lead to the node's files."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            return
        os.unlink(path)
    except FileNotFoundError:
        pass
    os.mkdir(path, 0o755)


def _show_volumes(root: str, paths: Sequence[str]) -> None:
    if not paths:
        return
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for index, path in enumerate(paths):
            # The template's links decide where that is, and lead nowhere else.
            target = make_directories(top, path)
            try:
                mounts.bind(stage.volume_name(index), f"/proc/self/fd/{target}")
            finally:
                os.close(target)
    finally:
        os.close(top)


def _mask(proc: str, null: str) -> None:
    for name in _MASKED_FILES:
        if os.path.exists(f"{proc}/{name}"):
            mounts.bind(null, f"{proc}/{name}")
    for name in _MASKED_DIRECTORIES:
        if os.path.isdir(f"{proc}/{name}"):
            mounts.bind(stage.NOTHING, f"{proc}/{name}")
    for name in _READONLY_DIRECTORIES:
        if os.path.isdir(f"{proc}/{name}"):
            mounts.bind_readonly(f"{proc}/{name}", f"{proc}/{name}")


def _write(path: str, text: str) -> None:
    """Write a small file unless it says so already: an unchanged one stays in the layer below."""
    content = text.encode()
    if _holds(path, content):
        return
    if os.path.islink(path):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _holds(path: str, content: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(content) + 1) == content
    finally:
        os.close(descriptor)
