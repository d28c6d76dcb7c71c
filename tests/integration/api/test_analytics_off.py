"""Where nothing keeps metrics and logs, each official client says so and asks no second time (rest-api contract §12, §13)."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest
from e2b import AsyncSandbox, SandboxException

from sandbank.domain.development import API_KEY
from tests.conformance.matrix.releases import RELEASES, Release, install
from tests.integration.api.conftest import LiveApi
from tests.integration.api.test_sandboxes import create, refused

TEAM = "0b8a3ded-4489-4722-afd1-1d82e64ec2d5"
METRICS_OFF, LOGS_OFF = "metrics are off: this installation has no", "logs are off: this installation has neither"
SCRIPT = """
const { Sandbox } = await import('e2b')
try { await Sandbox.getMetrics(process.argv[1]); console.log('answered') } catch (error) { console.log(`${error.name}: ${error.message}`) }
"""


def newest(client: str) -> Release:
    release = next(release for release in RELEASES if release.client == client)
    install(release)
    return release


async def run(api: LiveApi, release: Release, *command: str) -> tuple[int, str]:
    """Its status, and all that it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("E2B_")}
    environment |= {"E2B_API_KEY": API_KEY, "E2B_API_URL": api.url, "NO_UPDATE_NOTIFIER": "1", "HOME": "/nonexistent"}
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, cwd=release.directory, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


async def test_what_is_off_is_said_in_one_way_and_not_asked_for_again(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    for path, said in (
        (f"/sandboxes/{sandbox_id}/metrics", METRICS_OFF),
        (f"/sandboxes/metrics?sandbox_ids={sandbox_id}", METRICS_OFF),
        (f"/teams/{TEAM}/metrics", METRICS_OFF),
        (f"/teams/{TEAM}/metrics/max?metric=concurrent_sandboxes", METRICS_OFF),
        (f"/sandboxes/{sandbox_id}/logs", LOGS_OFF),
        (f"/v2/sandboxes/{sandbox_id}/logs", LOGS_OFF),
    ):
        refused(await api.client.get(path), 400, said)


async def test_the_python_sdk_says_that_metrics_are_off(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    with pytest.raises(SandboxException, match=f"^400: {METRICS_OFF}"):
        await AsyncSandbox.get_metrics(sandbox_id, api_key=API_KEY, api_url=api.url)


async def test_the_javascript_sdk_says_that_metrics_are_off(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    status, text = await run(api, newest("javascript"), "node", "--input-type=module", "-e", SCRIPT, sandbox_id)
    assert status == 0, text
    assert text.startswith(f"SandboxError: 400: {METRICS_OFF}")


@pytest.mark.parametrize(
    ("command", "said"),
    [("metrics", f"SandboxError: 400: {METRICS_OFF}"), ("logs", f"[400] bad request: {LOGS_OFF}")],
    ids=["metrics", "logs"],
)
async def test_the_command_line_says_what_is_off(api: LiveApi, command: str, said: str) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    release = newest("cli")
    status, text = await run(api, release, str(release.directory / "node_modules" / ".bin" / "e2b"), "sandbox", command, sandbox_id)
    assert status == 1
    assert said in text
