"""Creating a sandbox: checks in the contract's order, then its start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.identity import IamToken, check_iam
from sandbank.api.core.launch import SandboxLauncher
from sandbank.api.core.network_options import NetworkChecker
from sandbank.api.core.payload import check_payload
from sandbank.api.core.ports import Starts, Templates, Usage
from sandbank.api.core.start import SandboxStart
from sandbank.api.core.team import Team
from sandbank.api.core.template import Template
from sandbank.api.core.timeouts import require_within_plan
from sandbank.api.core.versions import version
from sandbank.api.core.volumes import Volumes
from sandbank.domain.credentials import SandboxTokens
from sandbank.domain.errors import InvalidError
from sandbank.domain.identifiers import new_sandbox_id
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.template_reference import TemplateReference, parse_template_reference

_SECURE_HINT = "Please visit https://e2b.dev/docs/sandbox/secured-access for more information."
_SECURE_SINCE = (0, 2, 0)


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """What a client asks for."""

    template: str
    timeout_seconds: int
    secure: bool
    metadata: Mapping[str, str] = field(default_factory=dict)
    env_vars: Mapping[str, str] = field(default_factory=dict)
    allow_internet_access: bool | None = None
    network: Mapping[str, Any] | None = None
    auto_pause: bool | None = None  # by default what the deployment does
    auto_pause_memory: bool = True
    auto_resume: bool = False
    iam_tokens: Mapping[str, IamToken] = field(default_factory=dict)
    volume_mounts: Sequence[tuple[str, str]] = ()  # name and path


def _reference(text: str) -> TemplateReference:
    try:
        return parse_template_reference(text)
    except InvalidError as error:
        raise InvalidError(f"Invalid template reference: {error.message}") from error


def _check_lifecycle(request: CreateSandbox, *, auto_pause: bool) -> None:
    if not request.auto_pause_memory and not auto_pause:
        raise InvalidError("autoPauseMemory=false only applies when autoPause is true.")
    if not request.auto_pause_memory and request.auto_resume:
        raise InvalidError(
            "autoPauseMemory=false (filesystem-only auto-pause) cannot be combined with autoResume: a filesystem-only snapshot"
            " cannot be auto-resumed by traffic and must be resumed explicitly."
        )


def _check_secure(template: Template) -> None:
    if not template.envd_version:
        raise InvalidError(f"You need to re-build template to allow using secured access. {_SECURE_HINT}")
    if version(template.envd_version) < _SECURE_SINCE:
        raise InvalidError(f"Template is not compatible with secured access. {_SECURE_HINT}")


class SandboxCreator:
    """Creates sandboxes."""

    def __init__(
        self,
        *,
        templates: Templates,
        launcher: SandboxLauncher,
        usage: Usage,
        network: NetworkChecker,
        volumes: Volumes,
        starts: Starts,
        tokens: SandboxTokens,
        tasks: TaskGroup,
        issues_identities: bool = True,
        pauses_by_default: bool = False,
    ) -> None:
        self._templates = templates
        self._launcher = launcher
        self._usage = usage
        self._network = network
        self._volumes = volumes
        self._starts = starts
        self._tokens = tokens
        self._tasks = tasks
        self._issues_identities = issues_identities
        self._pauses_by_default = pauses_by_default

    async def create(self, team: Team, request: CreateSandbox, sandbox_id: str | None = None) -> Sandbox:
        """A running sandbox whose agent has answered once; with `sandbox_id` for an ID, which must be new.

        Raises `InvalidError`, `NotFoundError` (template), and what `SandboxLauncher.launch` does. A cancelled caller
        leaves a sandbox that lives until its timeout: it is never half made.
        """
        start = await self._prepare(team, request, sandbox_id or new_sandbox_id())
        return await asyncio.shield(self._tasks.start("create", self._run(team, start)))

    async def _prepare(self, team: Team, request: CreateSandbox, sandbox_id: str) -> SandboxStart:
        template = await self._templates.get(team, _reference(request.template))
        if request.timeout_seconds == 0:
            raise InvalidError("Timeout must be greater than 0")
        require_within_plan(team, request.timeout_seconds)
        auto_pause = self._pauses_by_default if request.auto_pause is None else request.auto_pause
        _check_lifecycle(request, auto_pause=auto_pause)
        if request.secure:
            _check_secure(template)
        audiences = check_iam(request.iam_tokens, enabled=self._issues_identities)
        network = await self._network.check(
            request.network, request.allow_internet_access, envd_version=template.envd_version, secure=request.secure
        )
        mounts, node_id = await self._volumes.mounts(team, template, request.volume_mounts)
        if template.snapshot_node_id is not None and mounts:
            raise InvalidError("invalid mounts: no volumes can be mounted in a sandbox that goes on where a snapshot was taken")
        check_payload(request.metadata, request.env_vars, request.network)
        return SandboxStart(
            sandbox_id=sandbox_id,
            team_id=team.team_id,
            template=template,
            timeout_seconds=request.timeout_seconds,
            max_length_hours=team.max_length_hours,
            metadata=request.metadata,
            env_vars=request.env_vars,
            envd_access_token=self._tokens.envd(sandbox_id) if request.secure else None,
            traffic_access_token=None if network.public_traffic else self._tokens.traffic(sandbox_id),
            mask_request_host=network.mask_request_host,
            allow_internet_access=request.allow_internet_access,
            network=network.requested,
            https_ports=network.https_ports,
            egress=network.egress,
            volume_mounts=mounts,
            iam_tokens=audiences,
            node_id=node_id,
            origin_node_id=template.origin_node_id,
            auto_pause=auto_pause,
            auto_pause_memory=request.auto_pause_memory,
            auto_resume=request.auto_resume,
            snapshot_env_id=None if template.snapshot_node_id is None else template.template_id,
        )

    async def _run(self, team: Team, start: SandboxStart) -> Sandbox:
        sandbox = await self._launcher.launch(team, start)
        self._usage.template_spawned(sandbox.template_id)
        self._starts.sandbox_started(team.team_id)
        return sandbox
