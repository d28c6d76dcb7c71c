"""A sandbox with servers in it, found by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2b import Sandbox

from tests.conformance.domain.clients import Address, local_address
from tests.product.instance import Instance, wait_until

GUEST = Path(__file__).parents[1] / "guest"


@pytest.fixture(scope="module")
def address(server: Instance) -> Address:
    """Where the server is found by name."""
    return local_address(server)


@pytest.fixture(scope="module")
def web(server: Instance) -> Iterator[Sandbox]:
    """`browser_page.py` on 8000 and 8001, `web_server.py` on 8002."""
    with Sandbox.create(timeout=900) as sandbox:
        for name in ("browser_page.py", "web_server.py"):
            sandbox.files.write(f"/home/user/{name}", (GUEST / name).read_text())
        sandbox.commands.run("python3 browser_page.py 8000 8001", background=True, timeout=0)
        sandbox.commands.run("python3 web_server.py 127.0.0.1 8002", background=True, timeout=0)
        for port in (8000, 8002):
            wait_until(lambda port=port: httpx.get(f"http://{sandbox.get_host(port)}/").status_code == 200, f"port {port}")  # type: ignore[misc]
        yield sandbox
