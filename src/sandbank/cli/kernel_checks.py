"""What a kernel offers, each tried for real in namespaces that vanish again."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from sandbank.cli.check import Check, fail, ok, warn
from sandbank.cli.overlay_trial import try_idmapped_overlay
from sandbank.cli.preflight import OLDEST_KERNEL, kernel_version
from sandbank.runtime.snapshot.criu_program import find_criu

_CONTROLLERS = ("cpu", "memory", "pids")
_TRIAL_RULES = """
table inet trial {
  chain out { type nat hook postrouting priority 100; ip saddr 10.0.0.0/8 masquerade; }
  chain through { type filter hook forward priority 0; ct state established,related accept; ip daddr { 169.254.0.0/16 } drop; }
}
"""


def kernel() -> Check:
    """Its version."""
    needed = ".".join(map(str, OLDEST_KERNEL))
    if kernel_version() < OLDEST_KERNEL:
        return fail("kernel", platform.release(), fix=f"boot {needed} or newer")
    return ok("kernel", platform.release())


def cgroups(root: Path = Path("/sys/fs/cgroup")) -> Check:
    """Which version, and whether what limits sandboxes is there: in one hierarchy (v2), in one each (v1), or mixed."""
    unified = root / "cgroup.controllers"
    if unified.exists():
        version, found = "v2", set(unified.read_text().split())
    else:
        version = "v1 with v2 beside it" if (root / "unified").is_dir() else "v1"
        found = {name for name in _CONTROLLERS if (root / name / "cgroup.procs").exists()}
        if (beside := root / "unified" / "cgroup.controllers").exists():
            found |= set(beside.read_text().split())
    missing = [name for name in _CONTROLLERS if name not in found]
    if missing:
        return fail(
            "cgroups",
            f"{version}, without {', '.join(missing)}",
            costs="sandboxes would have no limits, so they are not started",
            fix="boot with cgroup_enable=memory, or mount the controllers under /sys/fs/cgroup",
        )
    return ok("cgroups", f"{version}, {', '.join(_CONTROLLERS)}")


def user_namespaces() -> Check:
    """Whether the kernel makes them, with a network namespace inside."""
    limit = int(Path("/proc/sys/user/max_user_namespaces").read_text())
    if limit == 0:
        return fail("user namespaces", "switched off", fix="sysctl -w user.max_user_namespaces=100000")
    if problem := _run(["unshare", "--user", "--net", "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "true"]):
        return fail("user namespaces", problem, fix="allow them: inside a container, that needs its privileged mode")
    if limit < 20_000:
        costs = "a sandbox needs one of each kind; thousands of sandboxes do not fit"
        return warn("user namespaces", f"{limit} at most", costs=costs, fix="sysctl -w user.max_user_namespaces=100000")
    return ok("user namespaces", f"{limit} at most")


def overlay(data_dir: Path) -> Check:
    """An overlay of idmapped layers, mounted from inside a user namespace, on the file system that would hold the sandboxes."""
    directory = data_dir
    while not directory.exists():
        directory = directory.parent
    if problem := try_idmapped_overlay(directory):
        fix = "put SANDBANK_DATA_DIR on ext4, xfs or btrfs; inside a container, that must be a volume and not the container's own overlay"
        return fail("overlay, idmapped", problem, fix=fix)
    return ok("overlay, idmapped", f"work in {directory}")


def seccomp() -> Check:
    """Filters with error numbers as results."""
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if not actions.exists() or "errno" not in actions.read_text().split():
        return fail(
            "seccomp",
            "not in this kernel",
            costs="sandboxes would see every system call, so they are not started",
            fix="boot another kernel",
        )
    return ok("seccomp", "filters work")


def nftables() -> Check:
    """Address translation and filtering, in a network namespace made for it."""
    if shutil.which("nft") is None:
        return warn("nftables", "not installed", costs="the next `sandbank up` installs it first", fix="apt-get install nftables")
    if problem := _run(["unshare", "--net", "nft", "-f", "-"], _TRIAL_RULES):
        costs = "sandboxes cannot be kept off private networks, so they are not started"
        return fail("nftables", problem, costs=costs, fix="load nf_tables, nft_chain_nat, nft_masq, nft_ct")
    return ok("nftables", "translation and filters work")


def ip_forward() -> Check:
    """Whether packets of sandboxes are passed on."""
    if Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() != "1":
        costs = "none once `sandbank up` has switched it on; until then sandboxes reach no network"
        return warn("ip forwarding", "off", costs=costs, fix="sysctl -w net.ipv4.ip_forward=1")
    return ok("ip forwarding", "on")


def criu(named: Path | None) -> Check:
    """Memory snapshots: which CRIU, and whether it can work with this kernel."""
    found = find_criu(named)
    if found.problem:
        return warn("criu", found.problem, costs="pausing with memory, forking and checkpoints are refused; all else works", fix=found.fix)
    return ok("criu", f"{found.version}, {found.path}{'' if found.tracks_memory else '; this kernel does not track written pages'}")


def _run(command: list[str], text: str = "") -> str:
    """Nothing when it ended well, else the last line of what it said."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")
