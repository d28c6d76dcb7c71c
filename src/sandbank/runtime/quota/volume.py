"""The file system that sandboxes write to: btrfs with quotas, the node's own or in one sparse image beside its mount point."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import structlog

from sandbank.domain.errors import ExhaustedError, InvalidError
from sandbank.runtime.linux import btrfs, mounts

LEAST_MIB = 320  # less is used up by the file system itself
_MOST_MIB = 1 << 20
_SHARE_OF_FREE = 0.8  # the image is sparse; what it promises must stay there to be had
# Written in place, like on other file systems, and the space of deleted files is given back to the node. Setuid programs of a sandbox work:
# what counts for them is the overlay above.
_OPTIONS = "nodatacow,discard=async,nosuid,nodev"
_PROGRAMS = {"mkfs.btrfs": "btrfs-progs", "losetup": "mount", "mount": "mount"}
_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class VolumeError(Exception):
    """There are no quotas on this node; the text says why, in one line."""


class Volume:
    """The directory `sandboxes` of a data directory, and the image `sandboxes.btrfs` that may be mounted there. Every method blocks.

    What is mounted stays mounted while sandboxes run, whatever happens to the service; after a reboot the image is mounted again.
    """

    def __init__(self, directory: Path, size_mib: int | None = None) -> None:
        self.directory = directory
        self.image = directory.with_name(f"{directory.name}.btrfs")
        self._size_mib = size_mib

    @property
    def is_ready(self) -> bool:
        """Whether quotas work below the directory as it is."""
        return btrfs.enforces_quotas(self.directory)

    @property
    def is_mounted(self) -> bool:
        """Whether the directory is a file system of its own."""
        return os.path.ismount(self.directory)

    def open(self) -> None:
        """Make quotas work below the directory, which must be empty unless they do already.

        `VolumeError` when this node cannot have them. `InvalidError` and `ExhaustedError` for a size that the operator or the disk has
        to change.
        """
        if self.is_ready:
            return
        if self.is_mounted:
            raise VolumeError(f"{self.directory} is a file system without quotas: make it btrfs, and run `btrfs quota enable` on it")
        if problem := self.find_obstacle():
            raise VolumeError(problem)
        if not self.image.exists():
            self._make_image(self.plan_mib())
        self._mount()
        try:
            btrfs.enable_quotas(self.directory)
        except OSError as error:
            self.close()
            raise VolumeError(f"the quotas of {self.image} cannot be switched on: {error.strerror}") from error
        self.directory.chmod(0o700)

    def close(self) -> None:
        """Unmount the image unless it is in use; what cannot be unmounted stays, and is used by the next start as it is."""
        if not self.is_mounted or not self.image.exists():
            return
        try:
            mounts.unmount(str(self.directory), 0)
        except OSError as error:
            _log.info("the sandboxes' disk stays mounted", directory=str(self.directory), reason=str(error))

    def plan_mib(self) -> int:
        """How large an image made now would be."""
        if self._size_mib is not None:
            if self._size_mib < LEAST_MIB:
                raise InvalidError(f"SANDBANK_SANDBOX_DISK_MIB is {self._size_mib}, and at least {LEAST_MIB} are needed (0: no quotas)")
            return self._size_mib
        parent = self.directory.parent
        while not parent.exists():
            parent = parent.parent
        free_mib = shutil.disk_usage(parent).free >> 20
        wanted_mib = min(int(free_mib * _SHARE_OF_FREE), _MOST_MIB)
        if wanted_mib < LEAST_MIB:
            raise ExhaustedError(f"{parent} has {free_mib} MiB free, too few for the sandboxes' disk: make room")
        return wanted_mib

    def find_shortage_mib(self) -> int:
        """How much of what the sparse image promises is no more to be had on the disk below; 0 also without an image."""
        with contextlib.suppress(FileNotFoundError):
            image = self.image.stat()
            promised_bytes = image.st_size - image.st_blocks * 512
            return max(promised_bytes - shutil.disk_usage(self.image.parent).free, 0) >> 20
        return 0

    def find_obstacle(self) -> str | None:
        """Why this node cannot have an image with quotas; None when nothing is known against it."""
        if self._size_mib == 0:
            return "SANDBANK_SANDBOX_DISK_MIB is 0"
        for program, package in _PROGRAMS.items():
            if shutil.which(program, path=_path()) is None:
                return f"{program} is missing (package {package})"
        if "\tbtrfs\n" not in Path("/proc/filesystems").read_text(encoding="ascii") and not _loads("btrfs"):
            return "this kernel has no btrfs"
        if not os.path.exists("/dev/loop-control") and not _loads("loop"):
            return "there are no loop devices here (inside a container, they need its privileged mode)"
        return None

    def _make_image(self, size_mib: int) -> None:
        aside = self.image.with_name(f".{self.image.name}.new")
        try:
            with aside.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.truncate(size_mib << 20)
            _run("mkfs.btrfs", "-q", "-f", "-K", "-m", "single", "-d", "single", str(aside))
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            aside.rename(self.image)
        finally:
            aside.unlink(missing_ok=True)

    def _mount(self) -> None:
        # A device that still has this very image, left by an interrupted start or held by sandboxes, is used again.
        arguments = ["--find", "--show", "--nooverlap", str(self.image)]
        try:
            device = _run("losetup", "--direct-io=on", *arguments)  # or everything would be cached twice
        except VolumeError:
            device = _run("losetup", *arguments)
        try:
            _run("mount", "-t", "btrfs", "-o", _OPTIONS, device, str(self.directory))
        finally:
            # A mounted device is in use: it is only marked, and freed by the kernel with its last mount.
            with contextlib.suppress(VolumeError):
                _run("losetup", "--detach", device)


def _loads(module: str) -> bool:
    try:
        _run("modprobe", "--quiet", module)
    except VolumeError:
        return False
    return True


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"


def _run(*command: str) -> str:
    environment = {**os.environ, "PATH": _path(), "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VolumeError(f"{command[0]}: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise VolumeError(f"{command[0]}: {lines[0] if lines else f'exit code {done.returncode}'}")
    return done.stdout.strip()
