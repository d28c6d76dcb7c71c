"""The sandbox's own environment variables, as its agent tells them."""

from __future__ import annotations

import asyncio
import json
import logging
from urllib.error import URLError
from urllib.request import Request, urlopen

log = logging.getLogger(__name__)

URL = "http://localhost:49983/envs"
SECONDS = 5.0


async def sandbox_variables(access_token: str | None, url: str = URL) -> dict[str, str] | None:
    """None when the agent does not answer, or not to this caller: the next cell asks again."""
    return await asyncio.to_thread(_asked, access_token, url)


def _asked(access_token: str | None, url: str) -> dict[str, str] | None:
    request = Request(url, headers={"X-Access-Token": access_token} if access_token else {})  # noqa: S310 - our own address
    try:
        with urlopen(request, timeout=SECONDS) as response:  # noqa: S310
            found = json.load(response)
    except (URLError, OSError, ValueError) as error:
        log.warning("no variables from the sandbox's agent: %s", error)
        return None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else None
