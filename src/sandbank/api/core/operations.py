"""All that endpoints can ask for, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from sandbank.api.core.access_keys import AccessTokens, ApiKeys
from sandbank.api.core.administration import NodeAdministration, TeamAdministration
from sandbank.api.core.authentication import Authenticator
from sandbank.api.core.create import SandboxCreator
from sandbank.api.core.extend import SandboxExtender
from sandbank.api.core.fork import SandboxForker
from sandbank.api.core.idempotency import IdempotentCreates
from sandbank.api.core.identity import IdentityMint
from sandbank.api.core.kill import SandboxKiller
from sandbank.api.core.listing import SandboxLister
from sandbank.api.core.login import TeamLister
from sandbank.api.core.logs import LogReader
from sandbank.api.core.metrics import MetricReader
from sandbank.api.core.network_update import NetworkUpdater
from sandbank.api.core.pause import SandboxPauser
from sandbank.api.core.paused import PausedSandboxes
from sandbank.api.core.ports import Readiness, Sandboxes
from sandbank.api.core.rate_limits import RateLimits
from sandbank.api.core.resume import SandboxResumer
from sandbank.api.core.snapshot_templates import SnapshotTemplates
from sandbank.api.core.team_secrets import Secrets
from sandbank.api.core.team_selection import TeamSelector
from sandbank.api.core.template_directory import TemplateCallers, TemplateOwnership
from sandbank.api.core.template_files import TemplateFiles
from sandbank.api.core.template_listing import TemplateLister
from sandbank.api.core.template_progress import BuildCanceller
from sandbank.api.core.template_removal import TemplatePublisher, TemplateRemover
from sandbank.api.core.template_request import BuildRequester
from sandbank.api.core.template_start import BuildStarter
from sandbank.api.core.template_status import BuildReader
from sandbank.api.core.template_tags import TemplateTags
from sandbank.api.core.volume_content import VolumeContent
from sandbank.api.core.volumes import Volumes


@dataclass(frozen=True, slots=True)
class Operations:
    """The API's operations, wired."""

    authenticator: Authenticator
    creator: SandboxCreator
    creates: IdempotentCreates
    extender: SandboxExtender
    killer: SandboxKiller
    pauser: SandboxPauser
    resumer: SandboxResumer
    forker: SandboxForker
    paused: PausedSandboxes
    snapshot_templates: SnapshotTemplates
    template_callers: TemplateCallers
    template_ownership: TemplateOwnership
    build_requester: BuildRequester
    build_starter: BuildStarter
    build_reader: BuildReader
    build_canceller: BuildCanceller
    template_files: TemplateFiles
    template_lister: TemplateLister
    template_publisher: TemplatePublisher
    template_remover: TemplateRemover
    template_tags: TemplateTags
    lister: SandboxLister
    sandboxes: Sandboxes
    teams: TeamLister
    team_selector: TeamSelector
    api_keys: ApiKeys
    access_tokens: AccessTokens
    logs: LogReader
    secrets: Secrets
    identity: IdentityMint
    volumes: Volumes
    volume_content: VolumeContent
    metrics: MetricReader
    network: NetworkUpdater
    nodes: NodeAdministration
    team_administration: TeamAdministration
    rate_limits: RateLimits
    readiness: Readiness
