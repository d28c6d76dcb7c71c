"""What must be true before anything is started; each failure is one line that says what to do."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from pathlib import Path

from sandbank.cli.settings import NodeSettings
from sandbank.domain.errors import DeniedError, ExhaustedError, UnavailableError
from sandbank.proxy.certificates import load_checked
from sandbank.servicekit.ports import require_free

# Idmapped mounts as lower and upper layers of an overlay mounted in a user namespace: overlayfs learnt that in 5.19.
OLDEST_KERNEL = (5, 19)
NEEDED_MIB = 512
NEEDED_TO_BUILD_MIB = 3072


def require_root() -> None:
    """Raise `DeniedError` unless this is root, in fact and not only by name."""
    if os.geteuid() != 0:
        raise DeniedError("this needs root (namespaces, mounts, firewall): run it with sudo")


def require_kernel() -> None:
    """Raise `UnavailableError` where sandboxes cannot run at all."""
    if sys.platform != "linux":
        raise UnavailableError("Sandbank runs on Linux")
    if kernel_version() < OLDEST_KERNEL:
        needed = ".".join(map(str, OLDEST_KERNEL))
        raise UnavailableError(f"kernel {platform.release()} is too old: {needed} or newer is needed, for overlays of idmapped mounts")


def require_ports(settings: NodeSettings) -> None:
    """Raise `UnavailableError` naming the first port that is taken, and by whom."""
    for what, (host, port) in settings.ports.items():
        require_free(host, port, what)


def require_certificate(settings: NodeSettings) -> None:
    """Raise `InvalidError` when the certificate that the operator gave is none for this domain."""
    if settings.certificate is not None and settings.certificate_key is not None:
        domain = settings.public_domain
        load_checked(settings.certificate, settings.certificate_key, (domain.api_name, f"*.{domain.name}"))


def require_space(directory: Path, needed_mib: int) -> None:
    """Raise `ExhaustedError` when the file system of `directory` (or of its nearest existing parent) has less."""
    while not directory.exists():
        directory = directory.parent
    free_mib = shutil.disk_usage(directory).free // 2**20
    if free_mib < needed_mib:
        raise ExhaustedError(f"{directory} has {free_mib} MiB free, and {needed_mib} MiB are needed: make room or set SANDBANK_DATA_DIR")


def kernel_version() -> tuple[int, int]:
    """The running kernel's major and minor number."""
    match = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(match[1]), int(match[2])) if match else (0, 0)
