"""The official command line's `template` commands against the API and a build service moved by hand (sdk-latest contract §5)."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from sandbank.domain.development import API_KEY
from tests.conformance.matrix.releases import RELEASES, install
from tests.integration.api.conftest import LiveApi
from tests.integration.api.template_calls import build
from tests.integration.api.test_template_sdks import next_build

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class CommandLine:
    """Runs `e2b` in a directory."""

    def __init__(self, api: LiveApi, directory: Path) -> None:
        release = next(release for release in RELEASES if release.client == "cli")
        install(release)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("E2B_")}
        self._directory = directory
        self._environment = variables | {
            "E2B_API_KEY": API_KEY,
            "E2B_API_URL": api.url,
            "NO_UPDATE_NOTIFIER": "1",
            "PATH": f"{release.directory / 'node_modules' / '.bin'}:{variables['PATH']}",
            "HOME": "/nonexistent",
        }

    async def attempt(self, *arguments: str) -> tuple[int | None, str]:
        pipe = asyncio.subprocess.PIPE
        running = await asyncio.create_subprocess_exec(
            "e2b", *arguments, cwd=self._directory, env=self._environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        output, errors = await running.communicate()
        return running.returncode, _COLOURS.sub("", (output + errors).decode())


async def test_a_templates_life_on_the_command_line(api: LiveApi, tmp_path: Path) -> None:
    (tmp_path / "e2b.Dockerfile").write_text("FROM debian:stable\nCOPY app.sh /app.sh\nRUN sh /app.sh\n")
    (tmp_path / "app.sh").write_text("true")
    e2b = CommandLine(api, tmp_path)
    creating = asyncio.ensure_future(e2b.attempt("template", "create", "from-shell"))
    run = await next_build(api)
    run.say("hello from the builder")
    run.complete()
    status, printed = await creating
    assert status == 0, printed
    assert "hello from the builder" in printed
    assert run.request.template.fromImage == "debian:stable"
    other = await build(api, "other")
    status, printed = await e2b.attempt("template", "list")
    assert status == 0, printed
    assert all(name in printed for name in ("from-shell", "other", other["templateID"]))
    for command, public in (("publish", True), ("unpublish", False)):
        status, printed = await e2b.attempt("template", command, other["templateID"], "-y")
        assert status == 0, printed
        assert (await api.client.get("/templates/aliases/other")).json()["public"] is public
    status, printed = await e2b.attempt("template", "delete", other["templateID"], "-y")
    assert status == 0, printed
    assert (await api.client.get("/templates/aliases/other")).status_code == 404
