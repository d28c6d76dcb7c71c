"""Commands for agents, and how they end."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

STDOUT, STDERR = "stdout", "stderr"
OnOutput = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class AgentCommand:
    """A shell command and whose it is. Without `cwd` it runs in the user's home; `shell` is bash as a login shell, or plain sh."""

    text: str
    user: str = "root"
    cwd: str | None = None
    env_vars: Mapping[str, str] = field(default_factory=dict)
    shell: tuple[str, ...] = ("/bin/bash", "-l", "-c")


SH = ("/bin/sh", "-c")


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended: `status` is text such as `exit status 1` or `signal: killed`."""

    code: int
    status: str
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it succeeded."""
        return self.code == 0 and not self.error


def with_path(text: str, env_vars: Mapping[str, str]) -> str:
    """`text` with the PATH of `env_vars`, which a login shell replaces by its own."""
    return f"export PATH={shlex.quote(env_vars['PATH'])}\n{text}" if "PATH" in env_vars else text
