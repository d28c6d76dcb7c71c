"""One sandbox's life through the Python SDK, synchronous; what was seen goes to standard output as JSON."""

from __future__ import annotations

import json
import sys

import httpx
from e2b import Sandbox

CONTENT = "sand" * 250_000

sandbox = Sandbox.create(timeout=60)
try:
    seen: dict[str, object] = {"domain": sandbox.sandbox_domain, "host": sandbox.get_host(8000).replace(sandbox.sandbox_id, "ID")}
    seen["output"] = sandbox.commands.run("echo $((6 * 7))").stdout
    sandbox.files.write("/home/user/content", CONTENT)
    seen["intact"] = sandbox.files.read("/home/user/content") == CONTENT
    seen["connected"] = Sandbox.connect(sandbox.sandbox_id).commands.run("cat /etc/hostname").exit_code == 0
    sandbox.files.write("/home/user/note", "signed")
    if "--by-name" in sys.argv:
        seen["signed"] = httpx.get(sandbox.download_url("/home/user/note")).text
    else:
        seen["signed"] = sandbox.files.read("/home/user/note")
    seen["listed"] = sandbox.sandbox_id in [item.sandbox_id for item in Sandbox.list().next_items()]
finally:
    seen["killed"] = sandbox.kill()
sys.stdout.write(json.dumps(seen))
