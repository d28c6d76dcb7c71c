"""Templates by the official Python client: what its builder says is built, and what fails is told (templates contract §1.2)."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2b import (
    AsyncTemplate,
    CopyItem,
    LogEntry,
    Sandbox,
    Template,
    TemplateBuildStatus,
    wait_for_file,
    wait_for_port,
    wait_for_process,
    wait_for_timeout,
    wait_for_url,
)
from e2b.exceptions import BuildException, FileUploadException, TemplateException
from e2b.template.types import BuildInfo

from tests.conformance.python.conftest import SandboxMaker
from tests.product.instance import Instance

Build = Callable[..., BuildInfo]


class Log:
    """What a build has said."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, LogEntry]] = []

    def __call__(self, entry: LogEntry) -> None:
        self.entries.append((time.monotonic(), entry))

    @property
    def lines(self) -> list[str]:
        return [entry.message for _, entry in self.entries]

    def at(self, text: str) -> float:
        """When the first line with that text came."""
        return next(at for at, entry in self.entries if text in entry.message)


@pytest.fixture
def name() -> str:
    """Of a template that nobody has."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory of files to copy, unlike any other."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text(f"print('hello')  # {uuid.uuid4()}\n")
    (tmp_path / "app" / "data").mkdir()
    (tmp_path / "app" / "data" / "one.txt").write_text("1")
    (tmp_path / "app" / "data" / "two.md").write_text("2")
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "link").symlink_to("run.sh")
    return tmp_path


@pytest.fixture
def build(server: Instance, name: str) -> Iterator[Build]:
    """Builds templates that are deleted after the test."""
    from e2b.api.client_sync import get_api_client  # noqa: F401  # the client is there, or no test would run

    made: list[str] = []

    def one(template: Any, called: str = name, **options: Any) -> BuildInfo:
        built = Template.build(template, called, **options)
        made.append(built.template_id)
        return built

    yield one
    for template_id in dict.fromkeys(made):
        Sandbox.delete_snapshot(template_id)  # DELETE /templates/{id}, which the builder itself cannot ask for


def test_every_instruction_does_what_it_says(build: Build, context: Path, name: str, make_sandbox: SandboxMaker) -> None:
    template = (
        Template(file_context_path=context)
        .from_base_image()
        .copy("app/main.py", "/srv/")
        .copy("app/main.py", "/srv/renamed.py", mode=0o755)
        .copy("app/data", "/srv/data", user="root")
        .copy_items([CopyItem(src="run.sh", dest="/srv/bin/"), CopyItem(src="app/data/*.txt", dest="/srv/texts")])
        .copy("link", "/srv/link")
        .set_envs({"BUILD_COLOUR": "red", "BUILD_PATH": "/srv:$PATH"})
        .run_cmd('echo "$BUILD_COLOUR $BUILD_PATH" > /tmp/envs')
        .run_cmd(["whoami > /tmp/who", "pwd > /tmp/where"])
        .run_cmd("whoami > /root/who", user="root")
        .set_workdir("/srv/work")
        .make_dir("made/deep", mode=0o700)
        .make_symlink("/srv/data", "linked")
        .run_cmd("touch gone old")
        .remove("gone")
        .rename("old", "new")
        .set_user("worker")
        .run_cmd("whoami > /tmp/worker; pwd >> /tmp/worker")
    )
    assert json.loads(Template.to_json(template))["steps"]
    built = build(template)
    assert (built.name, built.tags) == (name, ["default"])
    sandbox = make_sandbox(name)

    def run(command: str, **options: Any) -> str:
        return str(sandbox.commands.run(command, **options).stdout)

    assert run("python3 /srv/main.py") == "hello\n"
    assert run("stat -c '%a %U' /srv/renamed.py /srv/main.py /srv/data/one.txt").split() == ["755", "user", "644", "user", "644", "root"]
    assert run("find /srv/texts /srv/bin -type f | sort").split() == ["/srv/bin/run.sh", "/srv/texts/app/data/one.txt"] or run(
        "find /srv/texts /srv/bin -type f | sort"
    ).split() == ["/srv/bin/run.sh", "/srv/texts/one.txt"]
    assert run("readlink /srv/link") == "run.sh\n"
    assert run("cat /tmp/envs").startswith("red /srv:/")
    assert run("cat /tmp/who /tmp/where").split() == ["user", "/home/user"]
    assert run("sudo cat /root/who", user="user") == "root\n"
    assert run("cat /tmp/worker").split() == ["worker", "/srv/work"]
    assert run("whoami; pwd; ls; stat -c %a made/deep; readlink linked").split() == [
        *("worker", "/srv/work", "linked", "made", "new", "700", "/srv/data")
    ]
    assert run("echo ${BUILD_COLOUR:-unset}") == "unset\n", "variables of a template are for its build"


def test_packages_are_installed(build: Build, make_sandbox: SandboxMaker) -> None:
    template = (
        Template()
        .from_base_image()
        .apt_install("tree")
        .pip_install("six==1.16.0")
        .npm_install("is-number@7.0.0", g=True)
        .run_cmd("tree --version")
    )
    built = build(template)
    sandbox = make_sandbox(built.name)
    assert (
        sandbox.commands.run("tree --version && python3 -c 'import six; print(six.__version__)' && npm ls -g").stdout.count(
            "is-number@7.0.0"
        )
        == 1
    )


def test_a_dockerfile_is_a_recipe(build: Build, context: Path, make_sandbox: SandboxMaker) -> None:
    dockerfile = """
FROM e2bdev/base
ARG GREETING=hello
ENV NAME="a b" GREETING_TWO=$GREETING
WORKDIR /work
COPY --chown=root:root app/main.py ./
RUN echo "$NAME $GREETING_TWO" > said && \\
    echo done
RUN <<EOF
echo here
EOF
CMD ["sleep", "1000"]
"""
    template = Template(file_context_path=context).from_dockerfile(dockerfile).set_start_cmd("sleep 1000", wait_for_process("sleep"))
    assert "FROM e2bdev/base" in Template.to_dockerfile(Template(file_context_path=context).from_dockerfile("FROM e2bdev/base\nRUN true"))
    sandbox = make_sandbox(build(template).name)
    assert sandbox.commands.run("whoami; cat /work/said; pgrep -x sleep > /dev/null && echo runs").stdout == "user\na b hello\nruns\n"


@pytest.mark.parametrize(
    "ready",
    [
        wait_for_port(8123),
        wait_for_url("http://localhost:8123/"),
        wait_for_process("python3"),
        wait_for_file("/tmp/ready"),
        wait_for_timeout(1000),
    ],
    ids=["port", "url", "process", "file", "timeout"],
)
def test_what_a_template_starts_runs_in_each_of_its_sandboxes(ready: Any, build: Build, make_sandbox: SandboxMaker) -> None:
    log = Log()
    start = "touch /tmp/ready; echo started at $(date +%s%N) > /tmp/started; exec python3 -m http.server 8123 --directory /etc"
    built = build(Template().from_base_image().set_start_cmd(start, ready), on_build_logs=log)
    for text in ("Running start command", "Waiting for template to be ready", "Template is ready"):
        assert any(text in line for line in log.lines), text
    first, second = make_sandbox(built.name, envs={"OF": "mine"}), make_sandbox(built.name)
    assert first.commands.run("curl -s localhost:8123/hostname; echo $OF").stdout == "e2b.local\nmine\n"
    assert first.files.read("/tmp/started") == second.files.read("/tmp/started"), "it was started once, for all of them"
    first.files.write("/tmp/started", "mine")
    assert second.files.read("/tmp/started") != "mine"


def test_a_step_that_fails_is_told_where_it_stands(build: Build) -> None:
    log = Log()
    template = Template().from_base_image().run_cmd("echo fine")
    template = template.run_cmd("echo to stdout; echo to stderr >&2; exit 7")
    with pytest.raises(BuildException, match="exit status 7") as failure:
        build(template, on_build_logs=log)
    frames = [(Path(frame.path).name, frame.lineno) for frame in failure.traceback]
    assert any(path == "test_template_builder.py" for path, _ in frames)
    for line in ("[builder 2/2] [stdout]: to stdout", "[builder 2/2] [stderr]: to stderr"):
        assert line in log.lines
    assert any(line.startswith("Build failed: failed to run command") for line in log.lines)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (lambda: Template().from_base_image().set_start_cmd("exit 3", wait_for_timeout(20_000)), "start command failed: exit status 3"),
        (lambda: Template().from_template("no-such-template"), "template 'no-such-template' not found"),
        (lambda: Template().from_image("localhost:1/nothing:here"), "localhost:1/nothing:here"),
        (lambda: Template().from_base_image().run_cmd("true", user="nobody-of-that-name"), "nobody-of-that-name"),
    ],
    ids=["start", "base template", "image", "user"],
)
def test_what_cannot_be_built_says_why(template: Callable[[], Any], message: str, build: Build) -> None:
    with pytest.raises(BuildException) as failure:
        build(template())
    assert message in str(failure.value)


def test_log_lines_come_while_a_step_runs(build: Build) -> None:
    log = Log()
    build(Template().from_base_image().skip_cache().run_cmd("echo first; sleep 2; echo last"), on_build_logs=log)
    assert log.at("[stdout]: last") - log.at("[stdout]: first") > 1


def test_steps_are_built_once_and_files_uploaded_once(build: Build, context: Path, name: str) -> None:
    def template(*, skip_from: int | None = None) -> Any:
        made = Template(file_context_path=context).from_base_image().copy("app", "/srv")
        if skip_from == 2:
            made = made.skip_cache()
        return made.run_cmd("date +%s%N > /tmp/one").run_cmd("date +%s%N > /tmp/two")

    first, again, forced, partly = Log(), Log(), Log(), Log()
    build(template(), on_build_logs=first)
    build(template(), on_build_logs=again)
    build(template(), skip_cache=True, on_build_logs=forced)
    build(template(skip_from=2), on_build_logs=partly)

    def cached(log: Log) -> list[bool]:
        return [line.startswith("CACHED") for line in log.lines if "[builder " in line and "] [std" not in line]

    assert [cached(log) for log in (first, again, forced, partly)] == [
        [False] * 3,
        [True] * 3,
        [False] * 3,
        [True, False, False],
    ]
    assert any(line.startswith("Uploaded 'app'") for line in first.lines)
    assert any(line.startswith("Skipping upload of 'app'") for line in again.lines)


def test_a_template_goes_on_from_another_with_its_user_directory_and_start(build: Build, name: str, make_sandbox: SandboxMaker) -> None:
    parent = Template().from_base_image().set_user("worker").set_workdir("/srv/parent").run_cmd("touch there")
    build(parent.set_start_cmd("exec sleep 4242", wait_for_process("sleep")))
    child = build(Template().from_template(name).run_cmd("whoami > who; pwd >> who; ls >> who"), f"{name}-child")
    sandbox = make_sandbox(child.name)
    assert sandbox.commands.run("cat who").stdout.split() == ["worker", "/srv/parent", "there", "who"]
    assert sandbox.commands.run("pgrep -f 'sleep 4242' | wc -l").stdout.strip() != "0", "what the parent starts, it starts, too"


def test_a_snapshot_can_be_built_upon(build: Build, make_sandbox: SandboxMaker) -> None:
    origin = make_sandbox()
    origin.files.write("/home/user/kept", "from the sandbox")
    snapshot_id = origin.create_snapshot().snapshot_id
    try:
        built = build(Template().from_template(snapshot_id).run_cmd("cat /home/user/kept > /tmp/seen"))
        assert make_sandbox(built.name).files.read("/tmp/seen") == "from the sandbox"
    finally:
        Sandbox.delete_snapshot(snapshot_id)


def test_a_build_in_the_background_is_followed_by_its_ids(server: Instance, name: str) -> None:
    started = Template.build_in_background(Template().from_base_image().run_cmd(f"sleep 1; echo over {name}"), name)
    try:
        seen = set()
        while (status := Template.get_build_status(started)).status not in (TemplateBuildStatus.READY, TemplateBuildStatus.ERROR):
            seen.add(status.status)
            time.sleep(0.1)
        assert (status.status, seen) == (TemplateBuildStatus.READY, {TemplateBuildStatus.BUILDING})
        assert any("over" in entry.message for entry in status.log_entries)
    finally:
        Sandbox.delete_snapshot(started.template_id)


def test_names_and_tags(build: Build, name: str, make_sandbox: SandboxMaker) -> None:
    assert not Template.exists(name)
    first = build(Template().from_base_image().run_cmd("echo one > /tmp/which"), f"{name}:v1", tags=["stable"])
    assert sorted(first.tags) == ["stable", "v1"]
    assert Template.exists(name)
    second = build(Template().from_base_image().run_cmd("echo two > /tmp/which"), name)
    assert second.template_id == first.template_id

    def which(reference: str) -> str:
        return make_sandbox(reference).files.read("/tmp/which").strip()

    assert [which(name), which(f"{name}:stable"), which(f"{name}:{first.build_id}")] == ["two", "one", "one"]
    Template.assign_tags(name, ["stable"])
    assert which(f"{name}:stable") == "two"
    assert {tag.tag: tag.build_id for tag in Template.get_tags(first.template_id)} == {
        "default": second.build_id,
        "stable": second.build_id,
        "v1": first.build_id,
    }
    Template.remove_tags(name, ["v1"])
    assert "v1" not in {tag.tag for tag in Template.get_tags(first.template_id)}


def test_what_is_not_there_cannot_be_copied(server: Instance, context: Path, name: str) -> None:
    with pytest.raises((FileUploadException, BuildException, TemplateException, ValueError), match="nothing-there"):
        Template.build(Template(file_context_path=context).from_base_image().copy("nothing-there", "/srv"), name)
    assert Template.exists(name)
    Sandbox.delete_snapshot(next(iter([name])))


async def test_the_asynchronous_builder_does_the_same(server: Instance, name: str) -> None:
    log = Log()
    built = await AsyncTemplate.build(AsyncTemplate().from_base_image().run_cmd(f"echo hello {name}"), name, on_build_logs=log)
    assert f"[builder 1/1] [stdout]: hello {name}" in log.lines
    assert await AsyncTemplate.exists(name)
    Sandbox.delete_snapshot(built.template_id)
