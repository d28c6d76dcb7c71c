"""A Redis server of a test's own that can be stopped, started and emptied."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path


class RedisServer:
    """On a Unix socket in a directory of its own; it writes nothing to disk, so a restart finds it empty unless told otherwise."""

    def __init__(self, *, durable: bool = False) -> None:
        program = shutil.which("redis-server")
        assert program, "these tests need `redis-server`: apt-get install redis-server"
        self._directory = Path(tempfile.mkdtemp(prefix="sandbank-redis-", dir="/tmp"))
        self.socket = self._directory / "socket"
        keeping = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--save", ""]
        self._command = [program, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._directory), *keeping]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As an operator would write it."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Return when it takes connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while not self.socket.exists():
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < until, "redis-server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop it and delete what it kept."""
        self.stop()
        shutil.rmtree(self._directory)
