"""What a template may be built with: processors, memory and free disk (templates contract §1.3)."""

from __future__ import annotations

from sandbank.api.core.team import Team
from sandbank.domain.errors import InvalidError

_DEFAULT_VCPU = 2
_DEFAULT_RAM_MIB = 1024
_MOST_VCPU = 32
_LEAST_RAM_MIB = 128
_SUPPORT = "(if you need to increase this limit, please contact support)"


def checked_vcpu(team: Team, wanted: int | None) -> int:
    """The number of processors; `InvalidError` in the contract's words and order."""
    vcpu = _DEFAULT_VCPU if wanted is None else wanted
    if vcpu < 1:
        raise InvalidError("CPU count must be at least 1")
    if vcpu > _MOST_VCPU:
        raise InvalidError(f"CPU count must be at most {_MOST_VCPU}")
    if vcpu != 1 and vcpu % 2:
        raise InvalidError("CPU count must be 1 or an even number")
    if vcpu > team.max_vcpu:
        raise InvalidError(f"CPU count can't be higher than {team.max_vcpu} {_SUPPORT}")
    return vcpu


def checked_ram_mb(team: Team, wanted: int | None) -> int:
    """The memory in MiB; `InvalidError` in the contract's words and order."""
    ram_mb = _DEFAULT_RAM_MIB if wanted is None else wanted
    if ram_mb < _LEAST_RAM_MIB:
        raise InvalidError(f"Memory must be at least {_LEAST_RAM_MIB} MiB")
    if ram_mb % 2:
        raise InvalidError("Memory must be divisible by 2")
    if ram_mb > team.max_ram_mb:
        raise InvalidError(f"Memory can't be higher than {team.max_ram_mb} MiB {_SUPPORT}")
    return ram_mb


def granted_free_disk_mb(team: Team, wanted: int | None) -> int:
    """The free disk in MiB: a wish is granted as far as the team's limit goes, no wish is the team's default (sdk-latest contract §3)."""
    return team.free_disk_mb if wanted is None else min(max(wanted, 0), team.max_disk_mb)
