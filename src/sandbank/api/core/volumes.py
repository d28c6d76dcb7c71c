"""Volumes: directories of a team that outlive sandboxes (rest-api contract §18)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sandbank.api.core.ports import NodeLoad
from sandbank.api.core.team import Team
from sandbank.api.core.template import Template
from sandbank.api.core.versions import version
from sandbank.domain.errors import ConflictError, DeniedError, ExhaustedError, InvalidError, NotFoundError, UnavailableError
from sandbank.domain.volume import VolumeMount

SHARED = "shared"
"""The type of volumes that every node sees. Others are on one node, whose ID follows `LOCAL`."""
LOCAL = "local:"

_MOUNTS_SINCE = (0, 5, 14)
_MOST_MOUNTS = 32
_RESERVED = ("proc", "sys", "dev")


@dataclass(frozen=True, slots=True)
class Volume:
    """One of a team's volumes."""

    volume_id: str
    team_id: str
    name: str
    kind: str

    @property
    def node_id(self) -> str | None:
        """The only node that has it; `None` for all of them."""
        return self.kind.removeprefix(LOCAL) if self.kind.startswith(LOCAL) else None


def too_many(most: int) -> ExhaustedError:
    """What a team hears that has all it may."""
    return ExhaustedError(f"you have reached the maximum number of volumes ({most})", should_retry=False)


class VolumeRecords(Protocol):
    """Which volumes there are."""

    async def add(self, volume: Volume, most: int) -> bool:
        """False where the team has one of that name; `ExhaustedError` where it has `most`, however many are added at once."""

    async def list(self, team_id: str) -> Sequence[Volume]: ...

    async def find(self, team_id: str, volume_id: str) -> Volume | None: ...

    async def by_name(self, team_id: str, names: Sequence[str]) -> Mapping[str, Volume]: ...

    async def remove(self, team_id: str, volume_id: str) -> Volume | None: ...


class VolumeNodes(Protocol):
    """Where their files are."""

    def candidates(self) -> Sequence[NodeLoad]: ...

    async def create_volume(self, volume: Volume) -> None: ...

    async def delete_volume(self, volume: Volume) -> None: ...


class VolumeTokens(Protocol):
    """What opens a volume's files to whoever has it."""

    def issue(self, volume: Volume) -> str: ...


@dataclass(frozen=True, slots=True)
class VolumeRules:
    """What the operator allows."""

    enabled: bool
    shared: bool
    most_per_team: int


class Volumes:
    """A team's volumes. What belongs to others does not exist."""

    def __init__(self, records: VolumeRecords, nodes: VolumeNodes, tokens: VolumeTokens, rules: VolumeRules) -> None:
        self._records = records
        self._nodes = nodes
        self._tokens = tokens
        self._rules = rules

    async def create(self, team: Team, name: str) -> tuple[Volume, str]:
        """A new one, with a token; its directory is there when this returns. Failed, nothing of it is."""
        self._require_enabled()
        most = self._rules.most_per_team
        if len(await self._records.list(team.team_id)) >= most:
            raise too_many(most)
        volume = Volume(str(uuid.uuid4()), team.team_id, name, self._kind())
        await self._nodes.create_volume(volume)
        try:
            is_new = await self._records.add(volume, most)
        except (ExhaustedError, ConflictError):
            await self._nodes.delete_volume(volume)
            raise
        if not is_new:
            await self._nodes.delete_volume(volume)
            raise InvalidError(f"Volume with name '{name}' already exists")
        return volume, self._tokens.issue(volume)

    async def list(self, team: Team) -> Sequence[Volume]:
        """All of them."""
        self._require_enabled()
        return await self._records.list(team.team_id)

    async def get(self, team: Team, volume_id: str) -> tuple[Volume, str]:
        """One, with a fresh token."""
        self._require_enabled()
        volume = await self._records.find(team.team_id, _checked(volume_id))
        if volume is None:
            raise NotFoundError("Volume not found")
        return volume, self._tokens.issue(volume)

    async def delete(self, team: Team, volume_id: str) -> None:
        """Gone from the list when it returns; sandboxes that have it see it emptied. It stays listed while its node cannot be reached."""
        self._require_enabled()
        volume = await self._records.find(team.team_id, _checked(volume_id))
        if volume is None:
            raise NotFoundError("Volume not found")
        await self._nodes.delete_volume(volume)
        await self._records.remove(team.team_id, volume.volume_id)

    async def mounts(self, team: Team, template: Template, wanted: Sequence[tuple[str, str]]) -> tuple[tuple[VolumeMount, ...], str | None]:
        """Name and path pairs as mounts, and the node that they bind a sandbox to, if any; `InvalidError` says all that is wrong."""
        if not wanted:
            return (), None
        if not self._rules.enabled:
            raise InvalidError("Volume mounts are not enabled.")
        _check_template(template)
        known = await self._records.by_name(team.team_id, [name for name, _ in wanted])
        problems, mounts, taken = [], [], set[str]()
        for index, (name, path) in enumerate(wanted):
            problem = f"volume '{name}' not found" if name not in known else _problem_of_path(path, taken)
            if problem is not None:
                problems.append(f"\n\t- volume mount #{index}: {problem}")
                continue
            taken.add(_plain(path))
            mounts.append(VolumeMount(known[name].volume_id, name, path))
        if len(wanted) > _MOST_MOUNTS:
            problems.append(f"\n\t- at most {_MOST_MOUNTS} volumes can be mounted")
        nodes = {known[mount.name].node_id for mount in mounts} - {None}
        if len(nodes) > 1:
            problems.append("\n\t- the volumes are on different nodes")
        if problems:
            raise InvalidError("invalid mounts:" + "".join(problems))
        return tuple(mounts), next(iter(nodes), None)

    def _kind(self) -> str:
        if self._rules.shared:
            return SHARED
        nodes = self._nodes.candidates()
        if not nodes:
            raise UnavailableError("no node is ready to take a volume")
        return LOCAL + min(nodes, key=lambda node: (node.allocated_vcpu, node.node_id)).node_id

    def _require_enabled(self) -> None:
        if not self._rules.enabled:
            raise DeniedError("use of volumes is not enabled")


def _checked(volume_id: str) -> str:
    try:
        parsed = str(uuid.UUID(volume_id))
    except ValueError as error:
        raise InvalidError("Invalid volume ID") from error
    if parsed != volume_id.lower():
        raise InvalidError("Invalid volume ID")
    return parsed


def _check_template(template: Template) -> None:
    if not template.envd_version:
        raise InvalidError("template must be rebuilt: envd version is not set")
    if version(template.envd_version) < _MOUNTS_SINCE:
        raise InvalidError(
            "volumes are not supported; template must be rebuilt."
            f" Template envd version is {template.envd_version}, must be at least 0.5.14"
        )


def _plain(path: str) -> str:
    return "".join(f"/{part}" for part in path.split("/") if part)


def _problem_of_path(path: str, taken: set[str]) -> str | None:
    if not path:
        return "path cannot be empty"
    if not path.startswith("/"):
        return "path must be absolute"
    if any(part in (".", "..") for part in path.split("/")):
        return "path must not contain any '.' or '..' components"
    plain = _plain(path)
    if plain in taken:
        return f"path '{path}' is already used"
    if not plain or "\0" in path or len(path.encode(errors="replace")) > 1024 or plain.split("/")[1] in _RESERVED:
        return f"path '{path}' cannot be mounted to"
    return None
