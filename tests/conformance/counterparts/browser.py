"""Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_PAGE_SECONDS = 30


class Browser:
    """One tab of a headless browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def open(self, url: str) -> None:
        """Go to a page; returns when it has begun to load."""
        for _ in range(20):
            answer = self._call("Page.navigate", self._session, url=url)
            if answer.get("errorText") != "net::ERR_NETWORK_CHANGED":  # the node makes interfaces ahead for its next sandboxes
                break
            time.sleep(0.2)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page, as soon as it has one."""
        end = time.monotonic() + _PAGE_SECONDS
        while True:
            answer = self._call("Runtime.evaluate", self._session, expression=expression, returnByValue=True)
            value = answer["result"].get("value")
            if value:
                return value
            assert time.monotonic() < end, f"no value of {expression}: {answer}"
            time.sleep(0.1)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._connection.send(json.dumps(message if session is None else message | {"sessionId": session}))
        while True:
            answer = json.loads(self._connection.recv(timeout=_PAGE_SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]


@contextmanager
def running(profile: Path, authority: Path) -> Iterator[Browser]:
    """A browser whose user trusts one more certificate authority; `profile` is an empty directory."""
    store = profile / ".pki" / "nssdb"
    store.mkdir(parents=True)
    for step in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "local CA", "-i", str(authority)]):
        subprocess.run(["certutil", "-d", f"sql:{store}", *step], check=True, capture_output=True)
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command = ["chromium", *options, "--remote-debugging-port=0", f"--user-data-dir={profile / 'profile'}", "about:blank"]
    environment = {**os.environ, "HOME": str(profile)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment) as process:
        try:
            with connect(_address(process), max_size=None, proxy=None) as connection:
                yield Browser(connection)
        finally:
            process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"DevTools listening on (ws://\S+)", line):
            return found[1]
    raise AssertionError(f"Chromium did not start:\n{''.join(said)}")
