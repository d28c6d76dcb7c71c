"""HTTP/1.1 at its edges."""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
import time
from pathlib import Path

import pytest

from sandbank.contracts.filesystem import StatRequest, StatResponse
from sandbank.contracts.process import ProcessConfig, StartRequest, StartResponse
from tests.integration.envd.driving import Agent, bash, running_agent, seal

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def receive_until(connection: socket.socket, marker: bytes) -> bytes:
    data = b""
    while marker not in data:
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    return data


def receive_all(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def resident_bytes(agent: Agent) -> int:
    return int(Path(f"/proc/{agent.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_requests_of_one_connection_are_answered_in_order(agent: Agent) -> None:
    with agent.connect() as connection:
        connection.sendall(HEALTH + b"GET /envs HTTP/1.1\r\nHost: x\r\n\r\n" + HEALTH + b"GET /envs HTTP/1.1\r\nConnection: close\r\n\r\n")
        data = receive_all(connection)
    statuses = [line for line in data.split(b"\r\n") if b"HTTP/1.1 " in line]
    assert [line.rpartition(b"HTTP/1.1 ")[2] for line in statuses] == [b"204 No Content", b"200 OK", b"204 No Content", b"200 OK"]


def test_a_head_may_arrive_byte_by_byte(agent: Agent) -> None:
    with agent.connect() as connection:
        for byte in HEALTH:
            connection.sendall(bytes([byte]))
        assert receive_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")


def test_a_client_that_closed_its_side_still_gets_its_answer(agent: Agent) -> None:
    with agent.connect() as connection:
        connection.sendall(HEALTH)
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection).startswith(b"HTTP/1.1 204 ")


def test_http_1_0_gets_no_chunks(agent: Agent) -> None:
    body = seal(bash("echo hi"))
    head = b"POST /process.Process/Start HTTP/1.0\r\nContent-Type: application/connect+json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with agent.connect() as connection:
        connection.sendall(head + body)
        data = receive_all(connection)
    assert b"Transfer-Encoding" not in data
    assert data.endswith(seal({}, 2))


@pytest.mark.parametrize("junk", [b"junk\r\n\r\n", b"GET / HTTP/1.1\r\nHost x\r\n\r\n", b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\n\r\n"])
def test_junk_is_refused(agent: Agent, junk: bytes) -> None:
    with agent.connect() as connection:
        connection.sendall(junk)
        assert receive_all(connection).startswith(b"HTTP/1.1 4")


def test_expect_continue(agent: Agent, tmp_path: Path) -> None:
    head = f"POST /files?path={tmp_path}/a HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Length: 3\r\n"
    head += "Expect: 100-continue\r\n\r\n"
    with agent.connect() as connection:
        connection.sendall(head.encode())
        assert receive_until(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert b"200 OK" in receive_until(connection, b"]")
    assert (tmp_path / "a").read_bytes() == b"abc"


def test_a_refused_upload_is_answered_before_its_end(agent: Agent) -> None:
    with agent.connect() as connection:
        connection.sendall(b"POST /files HTTP/1.1\r\nContent-Type: text/weird\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 100_000)
        data = receive_until(connection, b"}")
    assert data.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in data
    assert b"unsupported content type" in data


def test_a_cut_upload_gets_no_answer(agent: Agent, tmp_path: Path) -> None:
    with agent.connect() as connection:
        target = f"POST /files?path={tmp_path}/a HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(target.encode() + b"part")
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection) == b""
    assert agent.request("GET", "/health")[0] == 204


def test_chunked_json_body(agent: Agent) -> None:
    pieces = (piece for piece in (b'{"path":', b'"/etc"', b"}"))
    status, _, body = agent.request("POST", "/filesystem.Filesystem/Stat", pieces, {"content-type": "application/json"})
    assert status == 200
    assert json.loads(body)["entry"]["type"] == "FILE_TYPE_DIRECTORY"


def test_uploads_and_downloads_need_little_memory(agent: Agent, tmp_path: Path) -> None:
    size = 192 * 1024 * 1024
    piece = os.urandom(1024 * 1024)
    before = resident_bytes(agent)
    pieces = (piece for _ in range(size // len(piece)))
    target = f"/files?path={tmp_path}/big"
    assert agent.request("POST", target, pieces, {"content-type": "application/octet-stream"})[0] == 200
    assert (tmp_path / "big").stat().st_size == size
    with agent.connect() as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, rest = receive_until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % size in head
        time.sleep(0.3)  # a reader that does not read
        assert resident_bytes(agent) - before < 16 * 1024 * 1024
        received = len(rest)
        while data := connection.recv(1024 * 1024):
            received += len(data)
    assert received == size
    assert resident_bytes(agent) - before < 16 * 1024 * 1024


def test_an_upload_waits_for_a_slow_process_and_not_in_memory(agent: Agent) -> None:
    """Input for a process that does not read is held back in the client's socket."""
    with agent.open_stream("process.Process/Start", {"process": {"cmd": "sleep", "args": ["60"]}}) as stream:
        pid = stream.next()["event"]["start"]["pid"]
        before = resident_bytes(agent)
        with agent.connect() as connection:
            connection.sendall(
                b"POST /process.Process/StreamInput HTTP/1.1\r\nContent-Type: application/connect+json\r\nContent-Length: 999999999\r\n\r\n"
            )
            connection.sendall(seal({"start": {"process": {"pid": pid}}}))
            connection.settimeout(0.5)
            message = seal({"data": {"input": {"stdin": "eHh4" * 16384}}})
            with pytest.raises(TimeoutError):
                connection.sendall(message * 2000)
        assert resident_bytes(agent) - before < 16 * 1024 * 1024
        agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})


class TestConnect:
    def test_proto_unary_and_stream(self, agent: Agent) -> None:
        request = StatRequest(path="/etc/passwd").SerializeToString()
        status, headers, body = agent.request("POST", "/filesystem.Filesystem/Stat", request, {"content-type": "application/proto"})
        assert (status, headers["content-type"]) == (200, "application/proto")
        assert StatResponse.FromString(body).entry.name == "passwd"
        payload = StartRequest(process=ProcessConfig(cmd="echo", args=["hi"])).SerializeToString()
        frame = struct.pack(">BI", 0, len(payload)) + payload
        _, headers, body = agent.request("POST", "/process.Process/Start", frame, {"content-type": "application/connect+proto"})
        assert headers["content-type"] == "application/connect+proto"
        events = []
        while body:
            flags, length = struct.unpack_from(">BI", body)
            payload, body = body[5 : 5 + length], body[5 + length :]
            events.append(payload if flags else StartResponse.FromString(payload).event.WhichOneof("event"))
        assert events == ["start", "data", "end", b"{}"]

    def test_compressed_requests(self, agent: Agent) -> None:
        body = gzip.compress(b'{"path":"/etc"}')
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        assert agent.request("POST", "/filesystem.Filesystem/Stat", body, headers)[0] == 200
        payload = gzip.compress(json.dumps(bash("echo hi")).encode())
        headers = {"content-type": "application/connect+json", "connect-content-encoding": "gzip"}
        status, _, body = agent.request("POST", "/process.Process/Start", struct.pack(">BI", 1, len(payload)) + payload, headers)
        assert (status, body[-7:]) == (200, seal({}, 2))

    def test_what_is_not_understood(self, agent: Agent) -> None:
        status, headers, _ = agent.request("POST", "/filesystem.Filesystem/Stat", b"x", {"content-type": "text/plain"})
        assert (status, headers["accept-post"]) == (415, "application/json, application/proto")
        status, headers, _ = agent.request("GET", "/filesystem.Filesystem/Stat")
        assert (status, headers["allow"]) == (405, "POST")
        assert agent.request("POST", "/filesystem.Filesystem/Nope", b"")[0] == 404
        status, body = agent.call("filesystem.Filesystem/Stat", {}, content_encoding="br")
        assert (status, body["code"]) == (501, "unimplemented")
        status, body = agent.call("filesystem.Filesystem/Stat", {}, connect_timeout_ms="soon")
        assert (status, body["code"]) == (400, "invalid_argument")
        status, body = agent.call("process.Process/List", {}, authorization="Basic bm9wZTo=")
        assert (status, body) == (401, {"code": "unauthenticated", "message": "invalid username: 'nope'"})

    def test_errors_of_streams_travel_in_the_last_envelope(self, agent: Agent) -> None:
        assert agent.stream("process.Process/Connect", {"process": {"pid": 999999}}) == [
            {"error": {"code": "not_found", "message": "process with pid 999999 not found"}}
        ]
        assert agent.stream("process.Process/Start", bash("true"), authorization="Basic bm9wZTo=")[0]["error"]["code"] == "unauthenticated"
        status, _, body = agent.request("POST", "/process.Process/Start", b"\0\0\0\0\x09{", {"content-type": "application/connect+json"})
        assert (status, json.loads(body[5:])["error"]["code"]) == (200, "invalid_argument")


class TestBrowsers:
    def test_preflight(self, agent: Agent) -> None:
        asked = {"origin": "http://a", "access-control-request-method": "POST", "access-control-request-headers": "x-access-token"}
        status, headers, _ = agent.request("OPTIONS", "/process.Process/List", headers=asked)
        assert status == 204
        assert (headers["access-control-allow-origin"], headers["access-control-max-age"]) == ("*", "7200")
        assert headers["access-control-allow-headers"] == "x-access-token"

    def test_answers_may_be_read(self, agent: Agent) -> None:
        _, headers, _ = agent.request("GET", "/health", headers={"origin": "http://a"})
        assert headers["access-control-allow-origin"] == "*"
        assert "Location" in headers["access-control-expose-headers"]


def test_access_token_and_init(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("secret")
    with running_agent(access_token="tok") as agent:
        unauthorized = b'{"code":401,"message":"unauthorized access, please provide a valid access token or method signing if supported"}\n'
        assert agent.request("GET", "/envs")[::2] == (401, unauthorized)
        assert agent.request("GET", "/envs", headers={"x-access-token": "tok"})[0] == 200
        assert agent.request("GET", "/health")[0] == 204
        assert agent.request("OPTIONS", "/envs", headers={"origin": "a", "access-control-request-method": "GET"})[0] == 204
        _, _, body = agent.request("GET", f"/files?path={tmp_path}/f")
        assert json.loads(body)["message"] == "missing signature query parameter"
        assert agent.request("GET", f"/files?path={tmp_path}/f", headers={"x-access-token": "tok"})[2] == b"secret"
        assert agent.request("POST", "/init", b'{"accessToken":"other"}')[::2] == (401, b"access token validation failed")
        assert agent.request("POST", "/init", b"{}")[::2] == (401, b"access token reset not authorized")
        body = b'{"accessToken":"tok","envVars":{"A":"1","E2B_SANDBOX_ID":"x"},"defaultUser":"nobody","timestamp":"2026-01-01T00:00:00Z"}'
        status, headers, _ = agent.request("POST", "/init", body)
        assert (status, headers["x-envd-version"]) == (204, "0.6.13")
        environment = json.loads(agent.request("GET", "/envs", headers={"x-access-token": "tok"})[2])
        assert environment == {"A": "1", "E2B_SANDBOX": "true", "E2B_SANDBOX_ID": "itestsandbox", "E2B_TEMPLATE_ID": "base"}
        assert agent.request("POST", "/init", b'{"accessToken":"tok","envVars":{},"timestamp":"2025-01-01T00:00:00Z"}')[0] == 204
        assert json.loads(agent.request("GET", "/envs", headers={"x-access-token": "tok"})[2])["A"] == "1"
        assert agent.request("POST", "/init", b'{"accessToken":"new"}', {"x-access-token": "tok"})[0] == 204
        assert agent.request("GET", "/envs", headers={"x-access-token": "new"})[0] == 200
        assert agent.request("POST", "/init", b'{"accessToken":""}', {"x-access-token": "new"})[0] == 400
