"""A small internet: `origin` in a namespace of its own, as public as addresses of the documentation range can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.integration.network.namespaces import Neighbour
from tests.integration.network.origin import OTHER_SITE, SECURE_SITE, SITE, SOCKS
from tests.integration.proxy.certificates import Authority


class Internet:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        authority = Authority(directory)
        self.ca = authority.path.read_text()
        authority.issue("proxy.test", "site.test", "secure.test").rename(directory / "cert.pem")
        self._neighbour = Neighbour("nwpub", "198.51.100.1", "198.51.100.2", SITE, OTHER_SITE, SOCKS, SECURE_SITE)
        namespace = f"/proc/self/fd/{self._neighbour.netns_fd}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.network.origin", namespace, str(directory)],
            pass_fds=[self._neighbour.netns_fd],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def proxied(self) -> list[str]:
        """What the SOCKS5 proxies were asked for."""
        log = self._directory / "log"
        return log.read_text().split() if log.exists() else []

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._neighbour.end()
