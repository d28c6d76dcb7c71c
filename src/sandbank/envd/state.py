"""What the sandbox was told about itself: identity, token, environment, defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbank.domain.errors import UnauthenticatedError
from sandbank.envd import paths
from sandbank.envd.accounts import Account, find_account
from sandbank.envd.config_record import ConfigRecord

RUN_DIRECTORY = Path("/run/e2b")
RESERVED = frozenset({"E2B_SANDBOX", "E2B_SANDBOX_ID", "E2B_TEMPLATE_ID", "E2B_EVENTS_ADDRESS"})


@dataclass
class AgentState:
    """Mutable by `/init` only."""

    sandbox_id: str
    template_id: str
    memory_limit_bytes: int
    cpu_count: int
    disk_limit_bytes: int
    access_token: str | None = None
    default_user: str = "root"
    default_workdir: str | None = None
    user_environment: dict[str, str] = field(default_factory=dict)
    internal_environment: dict[str, str] = field(default_factory=dict)
    trust_environment: dict[str, str] = field(default_factory=dict)
    """Where programs find certificates; what the user sets wins."""

    initialised_at_ns: int = 0
    """The newest `timestamp` that `/init` brought: an older one changes nothing."""
    lifecycle_id: str | None = None
    """Names this run of the sandbox; another one comes with each resume."""

    ca_bundle: str | None = None
    record: ConfigRecord | None = None
    """Where what `/init` changes is kept for the next agent; none in a rehearsal."""

    is_initialised: bool = False
    """Whether `/init` was answered; a sandbox made with all it needs may never get one."""

    def environment(self) -> dict[str, str]:
        """What every command gets and `GET /envs` shows; names the agent owns cannot be taken."""
        return {**self.trust_environment, **self.user_environment, **self.internal_environment}

    def set_user_environment(self, variables: Mapping[str, str]) -> None:
        """Replace what the user set before; names that the agent owns are left out (data-plane contract §5.1)."""
        self.user_environment = {name: value for name, value in variables.items() if name not in RESERVED}

    def publish_identity(self, run_directory: Path = RUN_DIRECTORY) -> None:
        """Name the sandbox in its environment and under `/run/e2b` (0444), where `sudo`'s clean environment cannot hide it."""
        self.set_user_environment(self.user_environment)
        self.internal_environment.update(E2B_SANDBOX="true", E2B_SANDBOX_ID=self.sandbox_id, E2B_TEMPLATE_ID=self.template_id)
        os.makedirs(run_directory, mode=0o755, exist_ok=True)
        for name in ("E2B_SANDBOX", "E2B_SANDBOX_ID", "E2B_TEMPLATE_ID"):
            path = f"{run_directory}/.{name}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444)
            try:
                os.write(descriptor, self.internal_environment[name].encode())
                os.fchmod(descriptor, 0o444)
            finally:
                os.close(descriptor)

    def keep(self) -> None:
        """Let an agent that is started in this one's place be told the same; `OSError` if it is too much to keep."""
        if self.record is not None:
            self.record.write(
                {
                    "sandbox_id": self.sandbox_id,
                    "template_id": self.template_id,
                    "access_token": self.access_token,
                    "env_vars": self.user_environment,
                    "default_user": self.default_user,
                    "default_workdir": self.default_workdir,
                    "ca_bundle": self.ca_bundle,
                }
            )

    def account(self, username: str | None) -> Account:
        """The account a request acts for; None means the default user."""
        name = username or self.default_user
        if not name:
            raise UnauthenticatedError("no user specified")
        account = find_account(name)
        if account is None:
            raise UnauthenticatedError(f"invalid username: '{name}'")
        return account

    def resolve(self, path: str, account: Account) -> str:
        """The absolute path a client means."""
        return paths.resolve(path, username=account.name, home=account.home, default_workdir=self.default_workdir)
