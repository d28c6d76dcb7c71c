"""The part that needs root of the node: what is mounted before the sandbox's user namespace is entered.

All of it happens in a mount namespace of the sandbox's own, on a tmpfs that ends with it, so nothing of it ever shows on the node. Paths
are short and relative to the stage: overlayfs prints them in /proc/mounts, where a sandbox reads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbank.runtime.linux import btrfs, mounts
from sandbank.runtime.rootfs import resources

UPPER, DEVICES, SYSTEM, ROOT = "u", "dev", "sys", "root"
_WHOLE_SYSTEM = "sysfs"
NOTHING = "none"  # an empty directory that nobody can write to, bound over what is hidden: a mount of its own for each takes longer
SHARED_MEMORY = "shm"  # below the devices

_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_DEVICE_LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_READONLY_FLAGS = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
# What of sysfs a sandbox sees: processors, memory nodes, its own interfaces. The rest tells of the node's disks, of the files behind its
# loop devices, of what each neighbour has written, of serial numbers, modules and kernel internals.
_SHOWN_SYSTEM = ("devices/system", "devices/virtual/net", "class/net")


def prepare(stage: str, layers: Sequence[str], upper: str, userns_fd: int, cgroups: Mapping[str, str], volumes: Sequence[str] = ()) -> None:
    """Build the stage at `stage` and make it the working directory.

    `layers` are lowest first; `upper` is the directory for what the sandbox writes; `cgroups` maps a path below /sys/fs/cgroup as the
    sandbox shall see it to the host's directory of this sandbox's own group; `volumes` are directories shared with other sandboxes.
    """
    mounts.mount("tmpfs", stage, "tmpfs", mounts.MS_NOSUID, "size=1m,mode=755")
    os.chdir(stage)
    for index, layer in enumerate(layers):
        os.mkdir(str(index))
        mounts.bind_idmapped(layer, str(index), userns_fd)
    os.mkdir(UPPER)
    mounts.bind_idmapped(upper, UPPER, userns_fd)
    for index, volume in enumerate(volumes):
        os.mkdir(volume_name(index))
        mounts.bind_idmapped(volume, volume_name(index), userns_fd)
        # Nothing that another sandbox left there gives rights in this one.
        mounts.mount(None, volume_name(index), None, mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_NOSUID | mounts.MS_NODEV)
    os.mkdir(resources.FACTS)
    os.mkdir(NOTHING)
    mounts.mount("tmpfs", NOTHING, "tmpfs", _READONLY_FLAGS, "size=0,mode=555")
    _make_devices()
    _mount_system(cgroups, btrfs.quota_directory(Path(upper)))
    os.mkdir(ROOT)


def volume_name(index: int) -> str:
    """Where on the stage a volume waits to be shown."""
    return f"v{index}"


def overlay_options(layer_count: int) -> str:
    """Mount options of the overlay, whose upper layer and work directory live below `UPPER`."""
    lower = ":".join(str(index) for index in reversed(range(layer_count)))
    return f"lowerdir={lower},upperdir={UPPER}/upper,workdir={UPPER}/work,userxattr"


def _make_devices() -> None:
    """Device nodes cannot be made inside a user namespace, so they are made here and bound in."""
    os.mkdir(DEVICES)
    mounts.mount("tmpfs", DEVICES, "tmpfs", mounts.MS_NOSUID | mounts.MS_NOEXEC, "size=64k,mode=755")
    for name, (major, minor) in _DEVICES.items():
        os.mknod(f"{DEVICES}/{name}", 0o20666, os.makedev(major, minor))
        os.chmod(f"{DEVICES}/{name}", 0o666)  # noqa: S103  # as on every Linux; mknod heeds the umask
    for name in ("pts", SHARED_MEMORY, "mqueue"):
        os.mkdir(f"{DEVICES}/{name}")
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{DEVICES}/{name}")


def _mount_system(cgroups: Mapping[str, str], quota: Path | None) -> None:
    """Some of the sysfs of the sandbox's network namespace, and the sandbox's own groups, of its cgroups and of its quota."""
    # The whole of it stays behind with the stage at the pivot.
    os.mkdir(_WHOLE_SYSTEM)
    mounts.mount("sysfs", _WHOLE_SYSTEM, "sysfs", _READONLY_FLAGS)
    os.mkdir(SYSTEM)
    mounts.mount("tmpfs", SYSTEM, "tmpfs", _READONLY_FLAGS & ~mounts.MS_RDONLY, "size=64k,mode=755")
    for name in _SHOWN_SYSTEM:
        os.makedirs(f"{SYSTEM}/{name}")
        mounts.bind(f"{_WHOLE_SYSTEM}/{name}", f"{SYSTEM}/{name}")
    shown = {f"cgroup/{name}": source for name, source in cgroups.items()} | ({"quota": str(quota)} if quota else {})
    for name, source in shown.items():
        group = f"{SYSTEM}/fs/{name}"
        os.makedirs(group, exist_ok=True)
        mounts.bind_readonly(source, group)
    mounts.mount(None, SYSTEM, None, mounts.MS_REMOUNT | _READONLY_FLAGS)
