"""One sandbox's life through the Python SDK, asynchronous; what was seen goes to standard output as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import httpx
from e2b import AsyncSandbox

CONTENT = "sand" * 250_000


async def live() -> dict[str, object]:
    sandbox = await AsyncSandbox.create(timeout=60)
    try:
        seen: dict[str, object] = {"domain": sandbox.sandbox_domain, "host": sandbox.get_host(8000).replace(sandbox.sandbox_id, "ID")}
        seen["output"] = (await sandbox.commands.run("echo $((6 * 7))")).stdout
        await sandbox.files.write("/home/user/content", CONTENT)
        seen["intact"] = await sandbox.files.read("/home/user/content") == CONTENT
        again = await AsyncSandbox.connect(sandbox.sandbox_id)
        seen["connected"] = (await again.commands.run("cat /etc/hostname")).exit_code == 0
        await sandbox.files.write("/home/user/note", "signed")
        if "--by-name" in sys.argv:
            async with httpx.AsyncClient() as client:
                seen["signed"] = (await client.get(sandbox.download_url("/home/user/note"))).text
        else:
            seen["signed"] = await sandbox.files.read("/home/user/note")
        seen["listed"] = sandbox.sandbox_id in [item.sandbox_id for item in await AsyncSandbox.list().next_items()]
    finally:
        killed = await sandbox.kill()
    return {**seen, "killed": killed}


sys.stdout.write(json.dumps(asyncio.run(live())))
sys.stdout.flush()
os._exit(0)  # the client's native threads outlive its loop, and have been seen to bring the interpreter down while it ended
