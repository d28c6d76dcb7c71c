"""What an installation has on its node, read from the kernel's own books and not from the product's."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from tests.product.instance import Instance

UIDS_PER_INSTANCE = 200_000_000
"""Widest span of the uid ranges of one installation: sandboxes' processes are recognised by it."""


@dataclass(frozen=True)
class Inventory:
    """Names of all that belongs to an installation at one instant; an empty one means that nothing is left."""

    processes: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]
    cgroups: frozenset[str]
    interfaces: frozenset[str]
    chains: frozenset[str]
    files: frozenset[str]

    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {item.name: len(getattr(self, item.name)) for item in fields(self)}

    def describe(self) -> str:
        """Every kind that is not empty, with its members."""
        lines = []
        for item in fields(self):
            members = sorted(getattr(self, item.name))
            if members:
                lines.append(f"{item.name} ({len(members)}): " + "; ".join(members[:20]))
        return "\n".join(lines)

    def beyond(self, earlier: Inventory) -> dict[str, list[str]]:
        """What is here now and was not in the earlier inventory, by kind."""
        result = {}
        for item in fields(self):
            new = getattr(self, item.name) - getattr(earlier, item.name)
            if new:
                result[item.name] = sorted(new)
        return result


def take(instance: Instance) -> Inventory:
    """Takes stock of an installation on this node. Needs root."""
    pids = _pids(instance)
    return Inventory(
        processes=frozenset(_name_of(pid) for pid in pids),
        mounts=frozenset(_mounts(instance)),
        namespaces=frozenset(_namespaces(instance, pids)),
        cgroups=frozenset(_cgroups(instance)),
        interfaces=frozenset(_interfaces(instance)),
        chains=frozenset(_chains(instance)),
        files=frozenset(_files(instance)),
    )


def sandbox_pids(instance: Instance) -> list[int]:
    """Processes that run under a uid of the installation's sandboxes."""
    span = range(instance.uid_base, instance.uid_base + UIDS_PER_INSTANCE)
    return [pid for pid in _all_pids() if _uid_of(pid) in span]


def descriptors(pid: int) -> Counter[str]:
    """Open descriptors of a process by kind: `socket`, `pipe`, the name of an anonymous inode, `ns:<kind>` or a path."""
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue  # closed between listing and reading
        kinds[_descriptor_kind(target)] += 1
    return kinds


def _descriptor_kind(target: str) -> str:
    if target.startswith("/"):
        return target.removesuffix(" (deleted)")
    kind, _, rest = target.partition(":")
    if kind == "anon_inode":
        return rest.strip("[]")
    return f"ns:{kind}" if kind in {"net", "user", "mnt", "pid", "ipc", "uts", "cgroup"} else kind


def client_connections(instance: Instance) -> int:
    """Connections that clients on this node keep open to the installation; each has a socket at the service's end, too."""
    ports = {f"{instance.first_port + offset:04X}" for offset in range(3)}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[2].partition(":")[2] in ports and fields[3] == "01" for fields in lines)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and not _waits_for_a_stranger(int(name))]


def _waits_for_a_stranger(pid: int) -> bool:
    """Whether it has ended and whoever inherited it has not looked yet.

    After a crash of the service its sandboxes belong to the node's first process or to whatever subreaper the tests run under; when that
    collects them is not ours to say. An ended child of the service or of the zygote counts.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0] == "Z" and b"sandbank" not in Path(f"/proc/{fields[1]}/cmdline").read_bytes()
    except OSError:
        return False


def _uid_of(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def _pids(instance: Instance) -> list[int]:
    """Sandboxes' processes and those that were started with this installation's name (services, zygote)."""
    marker = f"SANDBANK_INSTANCE={instance.name}\0".encode()
    found = set(sandbox_pids(instance))
    for pid in _all_pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if (b"\0" + environment).find(b"\0" + marker) >= 0 and pid != os.getpid() and b"pytest" not in command:
            found.add(pid)
    return sorted(found)


def _name_of(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return f"{pid} (gone)"
    return f"{pid} {state} {command[:120]}"


def _mounts(instance: Instance) -> list[str]:
    """Mounts of this namespace under the installation's directories."""
    roots = (f"{instance.data_dir}/", f"{instance.run_dir}/")
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in points if point.startswith(roots)]


def _namespaces(instance: Instance, pids: list[int]) -> set[str]:
    """User and network namespaces that the installation's processes are in or hold open, without the node's own."""
    own = {os.readlink(f"/proc/self/ns/{kind}") for kind in ("user", "net", "mnt", "pid")}
    found: set[str] = set()
    for pid in pids:
        links = [f"/proc/{pid}/ns/{kind}" for kind in ("user", "net", "mnt", "pid")]
        try:
            links += [entry.path for entry in os.scandir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        for link in links:
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith(("user:[", "net:[", "mnt:[", "pid:[")):
                found.add(target)
    return found - own


def _cgroups(instance: Instance) -> list[str]:
    """Control groups of the installation, on any hierarchy."""
    names = {instance.name, f"sandbank-{instance.name}"}
    return [directory for directory, _, _ in os.walk("/sys/fs/cgroup") if names & set(Path(directory).parts)]


def _interfaces(instance: Instance) -> list[str]:
    """Network interfaces of the node whose name starts with the installation's."""
    return [name for name in os.listdir("/sys/class/net") if name.startswith(instance.name)]


def _chains(instance: Instance) -> list[str]:
    """nftables tables, chains, sets and maps whose table has the installation's name in its own."""
    output = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    found = []
    for item in json.loads(output).get("nftables", []):
        for kind in ("table", "chain", "set", "map"):
            if kind in item:
                table = item[kind].get("table", item[kind]["name"])
                if instance.name in table.replace("_", "-").split("-"):
                    found.append(f"{kind} {item[kind]['family']} {table} {item[kind]['name']}")
    return found


def _files(instance: Instance) -> list[str]:
    """What lies below the installation's runtime directory and its sandboxes' directory."""
    found = [str(path) for path in instance.run_dir.glob("*")]
    found += [str(path) for path in (instance.data_dir / "sandboxes").glob("*")]
    return found
