"""A web server that runs inside a sandbox, with the standard library alone: `web_server.py <address> <port> [<certificate>]`."""

from __future__ import annotations

import base64
import hashlib
import http.server
import ssl
import struct
import sys
import time

WEBSOCKET_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked, digests what it was sent, streams, breaks off, and echoes over WebSockets."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Says nothing: nobody reads it."""

    def do_GET(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._websocket()
        elif self.path == "/stream":
            self._stream()
        elif self.path == "/cut":
            self._cut()
        else:
            seen = {name: self.headers.get(name) for name in ("Host", "X-Forwarded-For", "X-Custom")}
            self._answer(200, f"path={self.path} host={seen['Host']} xff={seen['X-Forwarded-For']} custom={seen['X-Custom']}".encode())

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "12345")
        self.end_headers()

    def do_POST(self) -> None:
        data = (
            self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(int(self.headers["Content-Length"]))
        )
        self._answer(201, f"{hashlib.sha256(data).hexdigest()} {len(data)}".encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-From", "sandbox")
        self.end_headers()
        self.wfile.write(body)

    def _chunks(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            self.wfile.write(b"7\r\nevent %d\r\n" % number)
            self.wfile.flush()
            time.sleep(0.4)
        self.wfile.write(b"0\r\n\r\n")

    def _cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half")
        self.close_connection = True

    def _websocket(self) -> None:
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + WEBSOCKET_MAGIC).encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        while self._echo_frame():
            pass
        self.close_connection = True

    def _echo_frame(self) -> bool:
        head = self.rfile.read(2)
        if len(head) < 2:
            return False
        length = head[1] & 127
        if length >= 126:
            length = int.from_bytes(self.rfile.read(2 if length == 126 else 8), "big")
        mask = self.rfile.read(4)
        data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.rfile.read(length)))
        size = bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length)
        self.wfile.write(head[:1] + size + data)
        return head[0] & 15 != 8


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
