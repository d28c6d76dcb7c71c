"""What a machine offers: rights, packages, ports, disk, memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sandbank.cli.check import Check, fail, ok, warn
from sandbank.cli.installation import Installation
from sandbank.cli.packages import missing_packages
from sandbank.cli.preflight import NEEDED_MIB, NEEDED_TO_BUILD_MIB
from sandbank.cli.settings import NodeSettings
from sandbank.domain.errors import SandbankError, UnavailableError
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.runtime.quota.volume import Volume
from sandbank.servicekit.ports import require_free

_COMFORTABLE_MEMORY_MIB = 2048
_COMFORTABLE_PIDS = 131_072


def root() -> Check:
    """Who runs this."""
    if os.geteuid() != 0:
        return fail("root", f"uid {os.geteuid()}", fix="run it with sudo")
    return ok("root", "yes")


def packages() -> Check:
    """Programs that set-up needs."""
    missing = missing_packages()
    if missing:
        names = " ".join(missing)
        return warn("packages", f"missing: {names}", costs="the next `sandbank up` installs them first", fix=f"apt-get install {names}")
    return ok("packages", "all there")


def ports(settings: NodeSettings) -> Check:
    """Whether every listener gets its port, or has it already."""
    if Installation(settings).find_service() is not None:
        return ok("ports", "in use by the running services")
    taken = []
    for what, (host, port) in settings.ports.items():
        try:
            require_free(host, port, what)
        except UnavailableError as error:
            taken.append(error.message)
    if taken:
        return fail("ports", "; ".join(taken), fix="stop what has them, or set SANDBANK_API_PORT and its siblings")
    return ok("ports", ", ".join(str(port) for _, port in settings.ports.values()) + " are free")


def disk(settings: NodeSettings) -> Check:
    """Free space where everything is kept."""
    directory = settings.data_dir
    while not directory.exists():
        directory = directory.parent
    free_mib = shutil.disk_usage(directory).free // 2**20
    found = f"{free_mib / 1024:.1f} GiB free in {directory}"
    if free_mib < NEEDED_MIB:
        return fail("disk", found, fix="make room, or set SANDBANK_DATA_DIR")
    if free_mib < NEEDED_TO_BUILD_MIB:
        return warn("disk", found, costs="building the base template may fail; sandboxes can write little", fix="make room")
    return ok("disk", found)


def disk_quotas(settings: NodeSettings) -> Check:
    """Whether one sandbox can be kept from filling the disk, and whether the disk still has what all of them are promised."""
    volume = Volume(settings.data_dir / "sandboxes", OrchestratorSettings().sandbox_disk_mib)
    costs = "any sandbox can fill this node's disk"
    if not volume.is_ready:
        if problem := volume.find_obstacle():
            return warn("disk quotas", problem, costs=costs, fix="see there; what is missing of packages, `sandbank up` installs")
        if volume.is_mounted or Installation(settings).find_service() is not None:
            fix = "restart Sandbank while no sandbox runs; its log says what is in the way"
            return warn("disk quotas", f"none in {volume.directory}", costs=costs, fix=fix)
    try:
        size_mib = _size_mib(volume)
    except SandbankError as error:
        return fail("disk quotas", error.message, fix="change that setting, or make room")
    found = f"{size_mib / 1024:.1f} GiB for all sandboxes together"
    if missing_mib := volume.find_shortage_mib():
        costs = f"writes of sandboxes may fail before their limits: {missing_mib} MiB that they were promised are used by others"
        return warn("disk quotas", found, costs=costs, fix="make room")
    return ok("disk quotas", found)


def _size_mib(volume: Volume) -> int:
    if volume.is_ready:
        return shutil.disk_usage(volume.directory).total >> 20
    return volume.image.stat().st_size >> 20 if volume.image.exists() else volume.plan_mib()


def memory() -> Check:
    """What is left for sandboxes."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available_mib = int(fields["MemAvailable"].split()[0]) // 1024
    found = f"{available_mib / 1024:.1f} GiB available"
    if available_mib < _COMFORTABLE_MEMORY_MIB:
        return warn(
            "memory", found, costs="few sandboxes fit, and building the base template is slow", fix="stop other programs, add memory"
        )
    return ok("memory", found)


def process_ids() -> Check:
    """Each sandbox has two processes of ours, and up to 4,096 of its own."""
    limit = int(Path("/proc/sys/kernel/pid_max").read_text())
    if limit < _COMFORTABLE_PIDS:
        return warn(
            "process ids", f"{limit} at most", costs="thousands of busy sandboxes run out of them", fix="sysctl -w kernel.pid_max=4194304"
        )
    return ok("process ids", f"{limit} at most")
