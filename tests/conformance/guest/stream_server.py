"""Streams, silences and ports that open late, for inside a sandbox: `stream_server.py <port>`."""

from __future__ import annotations

import http.server
import sys
import threading
import time

heard = [threading.Event() for _ in range(100)]


def listen_later(port: int, seconds: float) -> None:
    """Opens one more port after a while."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler, bind_and_activate=False)
    server.server_bind()

    def serve() -> None:
        time.sleep(seconds)
        server.server_activate()
        server.serve_forever()

    threading.Thread(target=serve, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    """What it does is in the path."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Says nothing: nobody reads it."""

    def do_GET(self) -> None:
        what, *arguments = self.path.strip("/").split("/")
        if what == "events":  # each waits until the one before was heard, which is said in another request
            self._begin("text/event-stream")
            for number in range(int(arguments[0]), int(arguments[1])):
                self._piece(b"data: %d\n\n" % number)
                heard[number].wait(60)
            self._piece(b"")
        elif what == "heard":
            heard[int(arguments[0])].set()
            self._answer(b"")
        elif what == "silent":
            self._begin("text/plain")
            self._piece(b"before ")
            time.sleep(float(arguments[0]))
            self._piece(b"after")
            self._piece(b"")
        elif what == "late":
            listen_later(int(arguments[0]), float(arguments[1]))
            self._answer(b"")
        else:
            self._answer(b"here")

    def do_POST(self) -> None:
        """Reads what comes until it ends, whatever the client does afterwards, and takes its time to answer."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.3)
        self._answer(b"%d" % len(data))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
