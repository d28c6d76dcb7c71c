"""The last release of the CLI that pushes with Docker, from its Dockerfile to a sandbox (contract templates-and-data §1.1.1)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2b import Sandbox

from tests.conformance.matrix.releases import Release, install
from tests.integration.docker_reverse_proxy.programs import Docker, docker
from tests.product.instance import SEEDED_ACCESS_TOKEN, Instance

CLI = Release("cli-docker", "2.10.3")
# Of our base: what no sandbox needs to start, so that the image is smaller.
LARGE = ("local", "share", "include", "lib/python3", "lib/python3.11", "lib/git-core", "lib/file", "lib/gcc")


@pytest.fixture(scope="module")
def logged_in(server: Instance) -> Iterator[Docker]:
    """A Docker of this test's own, which is logged in at the installation."""
    directory = Path(tempfile.mkdtemp(prefix="sandbank-docker-", dir="/tmp"))
    try:
        with docker(directory) as found:
            login = ["login", server.image_registry, "-u", "_e2b_access_token", "--password-stdin"]
            done = found(*login, stdin=SEEDED_ACCESS_TOKEN.encode())
            assert done.returncode == 0, done.stdout
            yield found
    finally:
        shutil.rmtree(directory)


def template_build(server: Instance, logged_in: Docker, project: Path) -> subprocess.CompletedProcess[str]:
    """`e2b template build` in `project`, whose Dockerfile is there."""
    install(CLI)
    environment = {name: value for name, value in logged_in.environment.items() if not name.startswith("E2B_")} | {
        "E2B_ACCESS_TOKEN": SEEDED_ACCESS_TOKEN,
        "E2B_API_URL": server.api_url,
        "E2B_IMAGE_URI_MASK": f"{server.image_registry}/e2b/custom-envs/{{templateID}}:{{buildID}}",
        "NO_UPDATE_NOTIFIER": "1",
        "PATH": f"{CLI.directory / 'node_modules' / '.bin'}:/usr/bin:{os.environ['PATH']}",  # Debian's docker, not another one
        "HOME": str(project),
    }
    command = ["e2b", "template", "build", "--name", f"pushed-{os.urandom(4).hex()}", "--cmd", "touch /tmp/started", "--ready-cmd", "true"]
    return subprocess.run(
        command,
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_template_that_docker_built_and_pushed_becomes_a_sandbox(server: Instance, logged_in: Docker, tmp_path: Path) -> None:
    """§1.1.1, all of it, until the CLI has seen the build end well; then the start command has run."""
    layers = server.data_dir / "artifacts" / "layers"
    base = max(layers.glob("base-*"), key=lambda path: path.stat().st_mtime)
    without = [f"--exclude=./usr/{name}" for name in LARGE]
    subprocess.run(["tar", "-C", str(base), *without, "-cf", str(tmp_path / "root.tar"), "."], check=True)
    (tmp_path / "e2b.Dockerfile").write_text("FROM scratch\nADD root.tar /\n")

    done = template_build(server, logged_in, tmp_path)

    assert done.returncode == 0, done.stdout
    assert "Build finished" in done.stdout or "completed" in done.stdout
    template_id = next(line.split('"')[1] for line in (tmp_path / "e2b.toml").read_text().splitlines() if line.startswith("template_id"))
    sandbox = Sandbox.create(template_id)
    try:
        assert sandbox.commands.run("whoami; pwd; ls /tmp").stdout.split() == ["user", "/home/user", "started"]
    finally:
        sandbox.kill()


def test_an_image_that_is_no_distribution_is_told_by_the_build(server: Instance, logged_in: Docker, tmp_path: Path) -> None:
    """It was pushed and found; what is wrong with it comes out at the CLI."""
    (tmp_path / "e2b.Dockerfile").write_text("FROM scratch\nCOPY hello /hello\n")
    (tmp_path / "hello").write_text("hello")
    done = template_build(server, logged_in, tmp_path)
    assert done.returncode != 0, done.stdout
    assert "docker image pushed" in done.stdout.lower()
    assert "failed" in done.stdout
