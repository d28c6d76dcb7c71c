"""A page that tries what browsers do, and the server behind it, for inside a sandbox: `browser_page.py <port> <other port>`."""

from __future__ import annotations

import base64
import hashlib
import http.server
import sys
import threading
import time

WEBSOCKET_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PAGE = """<!doctype html><title>working</title><script>
async function all() {
  const seen = {}
  seen.fetched = await (await fetch('/text')).text()
  const other = location.protocol + '//' + location.host.replace(/^\\d+/, OTHER) + '/cors'
  seen.elsewhere = await (await fetch(other, { method: 'PUT', body: 'x', headers: { 'X-Own': 'yes' } })).text()
  const upload = new Uint8Array(3_000_000).fill(7)
  seen.uploaded = await (await fetch('/upload', { method: 'POST', body: upload })).text()
  seen.events = await new Promise((done) => {
    const times = []
    const source = new EventSource('/events')
    source.onmessage = (event) => { times.push([event.data, performance.now()]); if (times.length === 3) { source.close(); done(times) } }
  })
  seen.apart = seen.events[2][1] - seen.events[0][1] > 300
  seen.events = seen.events.map((event) => event[0])
  seen.echo = await new Promise((done, failed) => {
    const socket = new WebSocket(location.origin.replace('http', 'ws') + '/socket')
    socket.onopen = () => socket.send('through the proxy')
    socket.onmessage = (event) => { done(event.data); socket.close() }
    socket.onerror = () => failed(new Error('WebSocket'))
  })
  seen.protocol = performance.getEntriesByType('navigation')[0].nextHopProtocol
  return seen
}
all().then((seen) => { window.seen = seen }, (error) => { window.seen = { error: String(error) } })
</script>"""


class Handler(http.server.BaseHTTPRequestHandler):
    """The page, what it fetches, events, an echo."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Says nothing: nobody reads it."""

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(PAGE.replace("OTHER", repr(sys.argv[2])).encode(), "text/html")
        elif self.path == "/events":
            self._events()
        elif self.path == "/socket":
            self._echo()
        else:
            self._answer(b"fetched", "text/plain")

    def do_OPTIONS(self) -> None:
        self._answer(b"", "text/plain")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"put elsewhere with X-Own: " + self.headers["X-Own"].encode(), "text/plain")

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode(), "text/plain")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "X-Own")
        self.send_header("Access-Control-Allow-Methods", "PUT")
        self.end_headers()
        self.wfile.write(body)

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(3):
            self.wfile.write(f"data: event {number}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.2)
        self.close_connection = True

    def _echo(self) -> None:
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + WEBSOCKET_MAGIC).encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        head = self.rfile.read(2)
        mask = self.rfile.read(4)
        data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.rfile.read(head[1] & 127)))
        self.wfile.write(b"\x81" + bytes([len(data)]) + data)
        self.rfile.read(2)
        self.close_connection = True


if __name__ == "__main__":
    ports = [int(argument) for argument in sys.argv[1:3]]
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) for port in ports]
    threading.Thread(target=servers[1].serve_forever, daemon=True).start()
    servers[0].serve_forever()
