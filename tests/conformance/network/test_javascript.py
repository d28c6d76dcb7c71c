"""Network options of the JavaScript SDK, looked at from inside (rest-api §10)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.conformance.javascript.test_javascript import HERE, packages  # noqa: F401
from tests.integration.network.internet import Internet
from tests.integration.network.origin import OTHER_SITE, PASSWORD, PLAIN_PORT, SITE, SOCKS, SOCKS_PORT, USER
from tests.product.instance import Instance

PROGRAM = Path(__file__).parent / "inside.py"
PROXY = f"{SOCKS}:{SOCKS_PORT}"


def test_options_and_updates(server: Instance, internet: Internet, packages: None) -> None:  # noqa: F811
    """§10.1, §10.3: names, a proxy, addresses, full replacement, what is shown, refusals."""
    addresses = [str(PROGRAM), SITE, OTHER_SITE, str(PLAIN_PORT), PROXY, USER.decode(), PASSWORD.decode()]
    done = subprocess.run(
        ["node", "network_scenario.mjs", *addresses],
        cwd=HERE,
        env={**os.environ, **server.client_environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert '"host": "site.test"' in seen["byName"][0]
    assert seen["byName"][1].startswith(("failed", "closed"))
    proxy = {"address": PROXY, "username": USER.decode()}
    assert seen["created"] == {"allowOut": ["site.test"], "denyOut": ["0.0.0.0/0"], "egressProxy": proxy}
    assert seen["denied"] == [False, True]
    assert seen["allowed"] == [True, False]
    assert seen["updated"] == {"allowOut": [SITE]}
    assert seen["cleared"] == [True, True]
    assert "ALL_TRAFFIC" in seen["refused"]
    assert seen["gone"] in ("SandboxNotFoundError", "NotFoundError")
