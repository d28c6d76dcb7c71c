"""A node of its own for these tests, and a look at what it leaves on the machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sandbank.domain.identifiers import new_sandbox_id
from sandbank.runtime.driver import AgentInit, Limits, NodeLayout, SandboxSpec
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
from sandbank.runtime.snapshot.criu_program import find_criu
from sandbank.runtime.snapshot.store import DIRECTORY

SLOT = int(os.environ.get("SANDBANK_TEST_SLOT", "0"))  # as in `tests.product.instance`
_OWN = str(SLOT or "")
DATA_DIR = Path(f"/tmp/rt{_OWN}-data")  # a fixed place: the agent bundle in it is assembled once and not for every run
ROOTFS = Path("/tmp/rt-rootfs")
LAYOUT = NodeLayout(
    DATA_DIR,
    DATA_DIR / "run",
    f"rt{_OWN}",
    f"10.{200 + SLOT}.0.0/16" if SLOT else "10.212.0.0/16",
    3_900_000_000 + SLOT * 20_000_000 if SLOT else 200_000_000,
    256,
)
FREE_SLOTS = 4


def make_driver(*, frozen_share: float = 0.0) -> NamespaceDriver:
    """One with few slots ahead, and no paused sandbox in memory unless told; not started."""
    settings = NamespaceSettings(free_slots=FREE_SLOTS, criu=find_criu(None).usable_path, frozen_share=frozen_share)
    return NamespaceDriver(LAYOUT, settings)


def new_spec(*, memory_mib: int = 256, pids: int = 256) -> SandboxSpec:
    """A sandbox of the test root file system."""
    limits = Limits(vcpu=1, memory_mib=memory_mib, disk_mib=512, pids=pids)
    name = new_sandbox_id()
    return SandboxSpec(name, "base", f"run-{name}", (ROOTFS,), limits, AgentInit(access_token=None, env_vars={}))


def bootstrap_rootfs() -> None:
    """Make the root file system unless it is there; takes half a minute."""
    assert os.geteuid() == 0, "sandboxes need root"
    if (ROOTFS / "etc/sudoers.d/user").exists():
        return
    packages = "--include=sudo,procps,iproute2,python3"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", packages, "bookworm", str(ROOTFS)], check=True)
    subprocess.run(["chroot", str(ROOTFS), "useradd", "-m", "-s", "/bin/bash", "user"], check=True)
    (ROOTFS / "etc/sudoers.d/user").write_text("user ALL=(ALL) NOPASSWD:ALL\n")
    (ROOTFS / "etc/sudoers.d/user").chmod(0o440)


def sandbox_processes() -> list[int]:
    """Processes of the node's uid ranges, by their user namespace: a sandbox's own, whatever they call themselves."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/uid_map").read_text(encoding="ascii").split()
        except OSError:
            continue
        if fields and LAYOUT.uid_base <= int(fields[1]) < LAYOUT.uid_base + 65536 * LAYOUT.max_slots:
            found.append(int(name))
    return found


def remains() -> dict[str, list[str]]:
    """Everything that sandboxes of this node have left: processes, cgroups, homes and mounts."""
    top, parent = Path("/sys/fs/cgroup"), f"sandbank-{LAYOUT.instance}"
    groups = [str(path) for pattern in (f"{parent}/*/", f"*/{parent}/*/") for path in top.glob(pattern)]
    homes = f"{DATA_DIR}/sandboxes/"  # below the mount of all homes, which is none of a sandbox's
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    mounts = [line for line in lines if line.split()[4].startswith(homes)]
    return {
        "processes": [str(pid) for pid in sandbox_processes()],
        "cgroups": groups,
        "homes": _homes(DATA_DIR / "sandboxes"),
        "mounts": mounts,
    }


def _homes(top: Path) -> list[str]:
    """Snapshots are no homes, but remains all the same."""
    names = [path.name for path in top.iterdir() if path.name != DIRECTORY]
    return names + [path.name for path in (top / DIRECTORY).glob("*")]
