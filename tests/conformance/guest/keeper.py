"""Keeps what it is given in memory: `keeper.py <port>`. PUT /name stores the body, DELETE /name forgets it, GET tells the hashes of all."""

from __future__ import annotations

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

kept: dict[str, bytes] = {}


class Keeper(BaseHTTPRequestHandler):
    """One request."""

    def do_PUT(self) -> None:
        """Store."""
        kept[self.path.strip("/")] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({})

    def do_DELETE(self) -> None:
        """Forget."""
        kept.pop(self.path.strip("/"), None)
        self._answer({})

    def do_GET(self) -> None:
        """Hashed anew each time."""
        self._answer({name: hashlib.sha256(content).hexdigest() for name, content in kept.items()})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class has it so
        """Nothing."""

    def _answer(self, content: dict[str, str]) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Keeper).serve_forever()
