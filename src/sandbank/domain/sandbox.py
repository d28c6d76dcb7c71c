"""One execution of a sandbox, as the control plane remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbank.domain.states import SandboxState


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that runs, or that ran when it was paused: immutable, replaced as a whole. Times are aware UTC.

    `network` and `allow_internet_access` are the client's own words, kept to be echoed; what is enforced is the node's business.
    What of them is secret, and never echoed, is apart. `requested_timeout_seconds` is the creation's, whatever resumes asked for since.
    """

    sandbox_id: str
    execution_id: str
    team_id: str
    template_id: str
    build_id: str
    node_id: str
    started_at: datetime
    end_at: datetime
    max_length_hours: int
    requested_timeout_seconds: int
    vcpu: int
    ram_mb: int
    disk_mb: int
    envd_version: str
    alias: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    envd_access_token: str | None = None
    traffic_access_token: str | None = None
    allow_internet_access: bool | None = None
    network: Mapping[str, Any] | None = None
    volume_mounts: tuple[tuple[str, str], ...] = ()  # name and path
    iam_tokens: Mapping[str, str] = field(default_factory=dict)  # audiences of workload tokens, by name
    auto_pause: bool = False  # what becomes of it at its end
    auto_pause_memory: bool = True  # and whether more than its files is saved then
    has_memory: bool = True  # of its save, if it is paused
    auto_resume: bool = False  # whether traffic wakes it once it is paused
    egress_proxy_password: str | None = field(default=None, repr=False)
    egress_proxy_ca_cert: str | None = field(default=None, repr=False)
    state: SandboxState = SandboxState.RUNNING

    @property
    def latest_end_at(self) -> datetime:
        """The moment after which the team's plan lets this execution run no longer."""
        return self.started_at + timedelta(hours=self.max_length_hours)
