"""Debian packages that the node needs: finding out which are missing, and installing only those."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path

from sandbank.domain.errors import UnavailableError

# What tells that it is there → the Debian package that brings it.
REQUIRED = {
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "mkfs.btrfs": "btrfs-progs",
    "ip": "iproute2",
    "mount": "mount",
    "unshare": "util-linux",
    "ldd": "libc-bin",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}

# apt takes everything installed from the same source package along: a small library would bring a new systemd with it.
_ONLY_THESE = ("-o", "APT::Get::Upgrade-By-Source-Package=false")
_IMPATIENT = ("-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5", "-o", "Acquire::https::Timeout=5")


def missing_packages() -> list[str]:
    """The packages that are not installed, sorted. Looks for files, which takes no time and suits hand-made installations."""
    return sorted({package for probe, package in REQUIRED.items() if not _is_there(probe)})


def install_packages(packages: list[str], progress: Callable[[str], None], *, patient: bool = True) -> None:
    """Install `packages` with apt; refreshes the lists only when they are missing or too old. `UnavailableError` says what apt said.

    Not `patient`: a mirror that does not answer is given up soon.
    """
    if shutil.which("apt-get") is None:
        raise UnavailableError(f"this is not a Debian-like system; please install by hand: {', '.join(packages)}")
    progress(f"installing {', '.join(packages)}")
    options = () if patient else _IMPATIENT
    install = [*options, "install", "--yes", "--no-install-recommends", *packages]
    if _apt(*install):
        progress("refreshing the package lists")
        if tail := _apt(*options, "update"):
            raise UnavailableError(f"apt-get update failed:\n{tail}")
        if tail := _apt(*install):
            raise UnavailableError(f"installing {', '.join(packages)} failed:\n{tail}")


def _is_there(probe: str) -> bool:
    if probe.startswith("/"):
        return Path(probe).exists()
    return shutil.which(probe, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin") is not None


def _apt(*arguments: str) -> str:
    """The last lines of a failed call, nothing after a good one."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    command = ["apt-get", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=120", *_ONLY_THESE, *arguments]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return "\n".join(deque((done.stdout + done.stderr).strip().splitlines(), maxlen=12)) or f"exit code {done.returncode}"
