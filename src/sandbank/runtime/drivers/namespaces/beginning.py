"""How a sandbox begins: what its first process is asked to be, and what goes on record of it."""

from __future__ import annotations

from pathlib import Path

from sandbank.runtime.cgroup.group import Group
from sandbank.runtime.driver import SandboxSpec
from sandbank.runtime.drivers.namespaces import process
from sandbank.runtime.drivers.namespaces.home import Record
from sandbank.runtime.drivers.namespaces.spawn_request import SpawnRequest
from sandbank.runtime.network.egress.record import encode
from sandbank.runtime.network.slot import Slot


def record_of(spec: SandboxSpec, slot: Slot, pid: int, bundle: str, boot_id: str) -> Record:
    """Of a sandbox whose first process runs; `OSError` when it does not any more."""
    return Record(
        spec.sandbox_id,
        spec.execution_id,
        slot.index,
        slot.base_uid,
        pid,
        process.start_time(pid),
        spec.limits.memory_mib << 20,
        spec.limits.disk_mib << 20,
        encode(spec.egress),
        spec.init.access_token,
        tuple(map(str, spec.layers)),
        tuple(str(volume.directory) for volume in spec.volumes),
        spec.limits.vcpu,
        bundle,
        env_vars=spec.init.env_vars,
        default_user=spec.init.default_user,
        default_workdir=spec.init.default_workdir,
        boot_id=boot_id,
    )


def request_of(
    spec: SandboxSpec, home: Path, group: Group, processors: tuple[int, ...], ca_bundle: str | None, boot_id: str
) -> SpawnRequest:
    """For the zygote. `ca_bundle` (PEM) is what the sandbox is to trust besides what it does already."""
    limits, init = spec.limits, spec.init
    agent: dict[str, object] = {
        "sandbox_id": spec.sandbox_id,
        "template_id": spec.template_id,
        "access_token": init.access_token,
        "env_vars": init.env_vars,
        "default_user": init.default_user,
        "default_workdir": init.default_workdir,
        "memory_limit_bytes": limits.memory_mib << 20,
        "cpu_count": limits.vcpu,
        "disk_limit_bytes": limits.disk_mib << 20,
        "ca_bundle": ca_bundle,
    }
    return SpawnRequest(
        sandbox_id=spec.sandbox_id,
        stage=str(home / "stage"),
        layers=[str(layer) for layer in spec.layers],
        upper=str(home / "data"),
        join_cgroups=group.join_paths,
        show_cgroups=group.shown,
        hostname=spec.hostname,
        shared_memory_bytes=limits.memory_mib << 19,  # half, as the kernel's own default has it
        memory_bytes=limits.memory_mib << 20,
        cpu_count=limits.vcpu,
        processors=processors,
        agent=agent,
        boot_id=boot_id,
        volumes=[(str(volume.directory), volume.path) for volume in spec.volumes],
    )
