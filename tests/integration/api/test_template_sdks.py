"""The official SDKs' template builders against the API and a build service moved by hand (sdk-latest contract §3)."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from e2b import AsyncSandbox, AsyncTemplate, Template
from e2b.exceptions import BuildException, RateLimitException
from sqlalchemy import update

from sandbank.api.wiring import database_url
from sandbank.db.database import Database
from sandbank.db.models_accounts import Tier
from sandbank.domain.development import API_KEY
from tests.conformance.javascript.test_javascript import HERE as JAVASCRIPT
from tests.conformance.javascript.test_javascript import packages as packages  # a fixture
from tests.integration.api.conftest import LiveApi
from tests.integration.api.grpc_builder import ERROR, FakeBuild
from tests.integration.api.test_lifecycle import eventually
from tests.integration.api.test_python_sdk import options


async def next_build(api: LiveApi) -> FakeBuild:
    """The one that is in progress, as soon as it is."""

    async def there() -> bool:
        return any(run.state == 0 for run in api.builder.builds.values())

    await eventually(there)
    return next(run for run in api.builder.builds.values() if run.state == 0)


async def test_a_build_from_its_files_to_its_last_line(api: LiveApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upload, start, more lines than one answer has, ready; then a sandbox of it, and tags."""
    (tmp_path / "app.py").write_text("print('hi')")
    recipe = AsyncTemplate(file_context_path=tmp_path).from_image("python:3").copy("app.py", "/app/").run_cmd("python /app/app.py")
    heard: list[str] = []
    building = asyncio.ensure_future(
        AsyncTemplate.build(recipe, "my-app:v1", tags=["prod"], on_build_logs=lambda line: heard.append(line.message), **options(api))
    )
    run = await next_build(api)
    for number in range(150):
        run.say(f"line {number}")
    run.complete()
    info = await building
    assert [line for line in heard if line.startswith("line ")] == [f"line {number}" for number in range(150)]
    (archive,) = api.builder.files.values()
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        assert files.getnames() == ["app.py"]
    config = run.request.template
    assert (config.fromImage, [step.type for step in config.steps], run.request.version) == ("python:3", ["COPY", "RUN"], "v2.1.0")
    assert config.steps[0].filesHash in next(iter(api.builder.files))
    sandbox = await AsyncSandbox.create("my-app:prod", **options(api))
    assert (await sandbox.get_info()).template_id == info.template_id
    assert await AsyncTemplate.exists("my-app", **options(api))
    assert not await AsyncTemplate.exists("absent", **options(api))
    tagged = await AsyncTemplate.assign_tags("my-app:v1", ["stable"], **options(api))
    assert (tagged.build_id, tagged.tags) == (info.build_id, ["stable"])
    assert {one.tag for one in await AsyncTemplate.get_tags(info.template_id, **options(api))} == {"prod", "stable", "v1"}
    await AsyncTemplate.remove_tags("my-app", "stable", **options(api))
    again = asyncio.ensure_future(AsyncTemplate.build(recipe, "my-app:v1", **options(api)))
    (await next_build(api)).complete()
    assert (await again).template_id == info.template_id
    assert len(api.builder.files) == 1, "files upload once"


async def test_a_failing_step_is_the_callers_line(api: LiveApi) -> None:
    recipe = Template().from_base_image().run_cmd("true").run_cmd("exit 3")
    building = asyncio.ensure_future(asyncio.to_thread(Template.build, recipe, "broken", **options(api)))
    run = await next_build(api)
    run.say("[builder 2/2] [stderr]: out", ERROR, "2")
    run.fail("failed to run command 'exit 3': exit status 3", "2")
    with pytest.raises(BuildException, match="exit status 3") as failed:
        await building
    frames = failed.traceback
    assert any("test_template_sdks.py" in str(frame.path) and 'run_cmd("exit 3")' in str(frame.statement) for frame in frames)


async def test_what_python_users_see_otherwise(api: LiveApi) -> None:
    missing = AsyncTemplate().from_template("absent")
    with pytest.raises(BuildException, match="template 'absent' not found"):
        await AsyncTemplate.build(missing, "child", **options(api))
    background = await AsyncTemplate.build_in_background(AsyncTemplate().from_image("x"), "later", **options(api))
    status = await AsyncTemplate.get_build_status(background, **options(api))
    assert (status.status.value, status.logs) == ("building", [])
    database = Database(database_url(api.settings))
    async with database.sessions.begin() as session:
        await session.execute(update(Tier).values(concurrent_template_builds=1))
    await database.close()

    async def limited() -> bool:
        try:
            await AsyncTemplate.build_in_background(AsyncTemplate().from_image("x"), "more", **options(api))
        except RateLimitException:
            return True
        return False

    await eventually(limited)


@pytest.mark.usefixtures("packages")
async def test_javascript_builds_and_fails_as_well(api: LiveApi, tmp_path: Path) -> None:
    (tmp_path / "app.js").write_text("1")
    environment = os.environ | {"E2B_API_KEY": API_KEY, "E2B_API_URL": api.url, "CONTEXT": str(tmp_path)}
    node = await asyncio.create_subprocess_exec(
        "node", "template_scenario.mjs", cwd=JAVASCRIPT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    talking = asyncio.ensure_future(node.communicate())
    run = await next_build(api)
    run.say("first line")
    run.complete()
    failing = await next_build(api)
    failing.fail("failed to run command 'exit 3': exit status 3", "1")
    output, errors = await talking
    assert node.returncode == 0, errors.decode()
    said: dict[str, Any] = json.loads(output)
    assert (said["name"], said["buildId"] in api.builder.builds, said["tags"]) == ("js-app", True, ["default"])
    assert "first line" in said["lines"]
    assert said["failure"].startswith("failed to run command 'exit 3': exit status 3")
    assert said["exists"] == [True, False]
    assert [step.type for step in run.request.template.steps] == ["COPY", "RUN"]
    assert len(api.builder.files) == 1
