"""Official clients as processes of their own: they read variables and certificates when they start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.product.instance import SEEDED_API_KEY, Instance

HERE = Path(__file__).parent
JAVASCRIPT = HERE.parent / "javascript"
CLIENTS = {
    "python": [sys.executable, str(HERE / "scenario.py")],
    "python async": [sys.executable, str(HERE / "scenario_async.py")],
    "javascript": ["node", str(JAVASCRIPT / "scenario.mjs")],
}
_CLIENT_VARIABLES = ("E2B_", "SSL_CERT_", "NODE_EXTRA_CA_CERTS", "NODE_OPTIONS", "NODE_TLS_", "REQUESTS_CA_", "CURL_CA_")


@dataclass(frozen=True)
class Address:
    """Where an installation is found by name, and the files that clients trust."""

    domain: str
    authority: Path
    bundle: Path

    def trust(self) -> dict[str, str]:
        """The variables of both languages (contract sdk-latest §2.2)."""
        return {"SSL_CERT_FILE": str(self.bundle), "NODE_EXTRA_CA_CERTS": str(self.authority)}


def local_address(server: Instance) -> Address:
    """What an installation has without any configuration."""
    files = server.data_dir / "tls" / "sandbank.localhost"
    return Address(f"sandbank.localhost:{server.proxy_address[1]}", files / "ca.pem", files / "bundle.pem")


def run(client: str, variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a scenario with these variables and no others that it would heed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_CLIENT_VARIABLES)}
    environment |= {"E2B_API_KEY": SEEDED_API_KEY, **variables}
    return subprocess.run([*CLIENTS[client], *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False)


def see(client: str, variables: dict[str, str], *arguments: str) -> dict[str, Any]:
    """What the scenario saw; fails with the client's words when it ended otherwise."""
    done = run(client, variables, *arguments)
    assert done.returncode == 0, f"{client} with {variables} ended with {done.returncode}:\n{done.stdout}\n{done.stderr[-4000:]}"
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
