"""One installation of Sandbank, started and stopped through its own command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEEDED_API_KEY = "e2b_53ae1fed82754c17ad8077fbc8bcdd90"
SEEDED_ACCESS_TOKEN = "sk_e2b_89215020937a4c989cde33d7bc647715"

COLD_START_SECONDS = 600.0
"""A first start builds the `base` template from packages: the network's speed decides, so the bound is generous."""

SERVICE_VARIABLES = (
    "SANDBANK_",
    "E2B_",
    "POSTGRES_",
    "REDIS_",
    "CLICKHOUSE_",
    "LOKI_",
    "ADMIN_TOKEN",
    "EDGE_SECRET",
    "SANDBOX_ACCESS_TOKEN",
)


class InstanceError(AssertionError):
    """A command of the product failed; the text has all it printed."""


@dataclass(frozen=True)
class Instance:
    """Names, ports and directories of an installation that shares a node with others and touches nothing of theirs."""

    name: str
    data_dir: Path
    run_dir: Path
    subnet: str
    uid_base: int
    first_port: int
    paused_memory_percent: float = 0.0  # so that what is resumed comes from disk; its default is tried where this is set
    extra: dict[str, str] = field(default_factory=dict)
    api_key: str = SEEDED_API_KEY
    access_token: str = SEEDED_ACCESS_TOKEN

    @property
    def api_url(self) -> str:
        """Where the REST API answers."""
        return f"http://127.0.0.1:{self.first_port}"

    @property
    def proxy_address(self) -> tuple[str, int]:
        """Host and port of the client proxy."""
        return "127.0.0.1", self.first_port + 2

    @property
    def sandbox_url(self) -> str:
        """Where traffic to sandboxes goes."""
        host, port = self.proxy_address
        return f"http://{host}:{port}"

    @property
    def image_registry(self) -> str:
        """Where Docker pushes images to, as it writes addresses."""
        return f"localhost:{self.first_port + 2000}"

    @property
    def egress_ca_bundle(self) -> Path:
        """What a test may write the certificate of a small internet to."""
        return self.data_dir / "internet-ca.pem"

    def service_environment(self) -> dict[str, str]:
        """The environment of the `sandbank` commands: the caller's, without settings meant for another installation."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(SERVICE_VARIABLES)}
        environment |= {
            "SANDBANK_DATA_DIR": str(self.data_dir),
            "SANDBANK_RUN_DIR": str(self.run_dir),
            "SANDBANK_INSTANCE": self.name,
            "SANDBANK_SUBNET": self.subnet,
            "SANDBANK_UID_BASE": str(self.uid_base),
            "SANDBANK_API_PORT": str(self.first_port),
            "SANDBANK_EDGE_PORT": str(self.first_port + 1),
            "SANDBANK_CLIENT_PROXY_PORT": str(self.first_port + 2),
            "SANDBANK_ORCHESTRATOR_PROXY_PORT": str(self.first_port + 2007),
            "SANDBANK_ORCHESTRATOR_PORT": str(self.first_port + 2008),
            "SANDBANK_DOCKER_REVERSE_PROXY_PORT": str(self.first_port + 2000),
            "SANDBANK_DOCKER_STORE_PORT": str(self.first_port + 2001),
            "SANDBANK_TEMPLATE_MANAGER_PORT": str(self.first_port + 2009),
            "SANDBANK_TEMPLATE_MIRRORS": "node",
            "SANDBANK_CODE_INTERPRETER": "off",  # it takes a minute and a gigabyte
            "SANDBANK_PAUSED_MEMORY_PERCENT": str(self.paused_memory_percent),
            "SANDBANK_EGRESS_CA_BUNDLE": str(self.egress_ca_bundle),
        }
        return environment | self.extra

    def client_environment(self) -> dict[str, str]:
        """The three variables that point an official SDK here."""
        return {"E2B_API_KEY": self.api_key, "E2B_API_URL": self.api_url, "E2B_SANDBOX_URL": self.sandbox_url}

    def command(self, *arguments: str, timeout_seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Runs `sandbank <arguments>` to its end, whatever its exit code; output is captured."""
        program = Path(sys.executable).with_name("sandbank")
        return subprocess.run(
            [str(program), *arguments],
            env=self.service_environment(),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def up(self) -> str:
        """Starts it detached and returns what was printed; raises `InstanceError` with the output if that failed."""
        return self._expect(self.command("up", "--detach", timeout_seconds=COLD_START_SECONDS), "up")

    def down(self) -> str:
        """Stops the services and every sandbox."""
        return self._expect(self.command("down", timeout_seconds=120.0), "down")

    def status(self) -> dict[str, Any]:
        """What `sandbank status --json` says; raises `InstanceError` when it is not JSON."""
        done = self.command("status", "--json")
        try:
            answer = json.loads(done.stdout)
        except ValueError as error:
            raise InstanceError(f"`sandbank status --json` ({done.returncode}) printed {done.stdout!r} and {done.stderr!r}") from error
        if not isinstance(answer, dict):
            raise InstanceError(f"`sandbank status --json` is not an object: {answer!r}")
        return answer

    def _expect(self, done: subprocess.CompletedProcess[str], what: str) -> str:
        if done.returncode != 0:
            raise InstanceError(f"`sandbank {what}` ended with {done.returncode}:\n{done.stdout}\n{done.stderr}\n{self.log_tail()}")
        return done.stdout

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of every log file the installation keeps, for the text of a failure."""
        parts = []
        for path in sorted({*self.data_dir.glob("**/*.log"), *self.run_dir.glob("**/*.log")})[:6]:
            text = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {path}\n" + "\n".join(text))
        return "\n".join(parts)


def for_tests(*, code_interpreter: str = "off") -> Instance:
    """The installation that conformance and soak tests share; its data directory keeps the built template between runs.

    `SANDBANK_TEST_SLOT` (0 to 9) chooses another, so that several runs can share a machine.
    """
    slot = int(os.environ.get("SANDBANK_TEST_SLOT", "0"))
    suffix = f"-{slot}" if slot else ""
    return Instance(
        name="sb" + "tabcdefghi"[slot],  # none may begin with another's name
        data_dir=Path(f"/var/lib/sandbank-test{suffix}"),
        run_dir=Path(f"/run/sandbank-test{suffix}"),
        subnet=f"10.{220 + slot}.0.0/16" if slot else "10.215.0.0/16",
        uid_base=500_000_000 + slot * 300_000_000,
        first_port=13000 + slot * 20,
        extra={"SANDBANK_CODE_INTERPRETER": code_interpreter},
    )


def outside() -> Instance | None:
    """One that runs already, if the environment names it: `SANDBANK_TEST_OUTSIDE` is its API's port on this machine, the others follow from
    it as here; `E2B_API_KEY` and `E2B_ACCESS_TOKEN` are its keys. Its files and processes are not to be had.
    """
    port = os.environ.get("SANDBANK_TEST_OUTSIDE")
    if not port:
        return None
    nowhere = Path("/nonexistent")
    return Instance(
        name="-",
        data_dir=nowhere,
        run_dir=nowhere,
        subnet="-",
        uid_base=0,
        first_port=int(port),
        api_key=os.environ["E2B_API_KEY"],
        access_token=os.environ["E2B_ACCESS_TOKEN"],
    )


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 10.0, every: float = 0.05) -> None:
    """Waits for a condition that the product promises to bring about; the bound only turns a hang into a failure."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(every)
