"""The real programs on both sides of the proxy, each with everything of its own: ports, directories, sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

UPSTREAM_USER = "upstream"
UPSTREAM_PASSWORD = "upstream-password"
# bcrypt of it, which is the one kind that docker-registry takes.
_HTPASSWD = UPSTREAM_USER + ":$2b$04$71Ofz.8.YlMgnVgvHruHHefVEio7j7sHNXLZbCyizCcbYIFVodaGS\n"


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], log: Path, is_ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it answers until it has ended."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while not is_ready():
            assert process.poll() is None, f"{command[0]} ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{command[0]} does not answer:\n{log.read_text()}"
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def docker_registry(directory: Path) -> Iterator[str]:
    """Debian's `docker-registry`, which wants basic authentication; its URL."""
    port = free_port()
    (directory / "htpasswd").write_text(_HTPASSWD)
    configuration = directory / "registry.yml"
    configuration.write_text(
        f"""version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {directory}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: images, path: {directory}/htpasswd}}}}
"""
    )
    with running(["docker-registry", "serve", str(configuration)], directory / "registry.log", lambda: accepts(port)):
        yield f"http://127.0.0.1:{port}/sandbank/images"


@dataclass(frozen=True)
class Docker:
    """A daemon without network for containers, and its client with a configuration of its own."""

    directory: Path

    @property
    def host(self) -> str:
        """Where the daemon listens."""
        return f"unix://{self.directory}/docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        """For programs that call `docker`."""
        return {**os.environ, "DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.directory / "config"), "DOCKER_BUILDKIT": "0"}

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """`docker <arguments>` to its end, whatever its exit code; output and errors together."""
        done = subprocess.run(
            ["/usr/bin/docker", *arguments],
            env=self.environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode())


@contextlib.contextmanager
def docker(directory: Path) -> Iterator[Docker]:
    """containerd and dockerd, in `directory`, whose name must be short: Unix sockets' names are."""
    found = Docker(directory)
    sock = directory / "containerd.sock"
    configuration = directory / "containerd.toml"
    configuration.write_text(
        f"""version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
root = "{directory}/containerd/root"
state = "{directory}/containerd/state"
[grpc]
address = "{sock}"
"""
    )
    daemon = ["/usr/sbin/dockerd", "--containerd", str(sock), "--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec"]
    daemon += ["--pidfile", f"{directory}/pid", "-H", found.host, "--iptables=false", "--ip6tables=false", "--bridge=none"]
    daemon += ["--storage-driver=vfs", "--config-file", f"{directory}/none.json"]
    (directory / "none.json").write_text("{}")
    with (
        running(["containerd", "--config", str(configuration)], directory / "containerd.log", sock.exists),
        running(daemon, directory / "dockerd.log", lambda: found("version").returncode == 0),
    ):
        yield found


def skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`skopeo <arguments>` to its end, whatever its exit code; output and errors together."""
    return subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
