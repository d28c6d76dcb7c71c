"""Who gets in, and how each call may be encoded (data-plane contract §1.1, §1.3, §1.7, §4.1)."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from sandbank.contracts import process
from tests.integration.envd.driving import Agent, running_agent, seal

UNAUTHORIZED = b'{"code":401,"message":"unauthorized access, please provide a valid access token or method signing if supported"}\n'
PREFLIGHT = {"origin": "https://a", "access-control-request-method": "POST"}
UNARY = {
    "List": process.ListRequest(),
    "Update": process.UpdateRequest(process=process.ProcessSelector(pid=999_999)),
    "SendInput": process.SendInputRequest(process=process.ProcessSelector(pid=999_999), input=process.ProcessInput(stdin=b"x")),
    "SendSignal": process.SendSignalRequest(process=process.ProcessSelector(tag="none"), signal=process.Signal.SIGNAL_SIGTERM),
    "CloseStdin": process.CloseStdinRequest(process=process.ProcessSelector(pid=999_999)),
}
STREAMS = {
    "Connect": process.ConnectRequest(process=process.ProcessSelector(pid=999_999)),
    "StreamInput": process.StreamInputRequest(start=process.StreamInputRequest.StartEvent(process=process.ProcessSelector(pid=999_999))),
}


@pytest.fixture(scope="module")
def secured() -> Iterator[Agent]:
    with running_agent(access_token="tok") as agent:
        yield agent


class TestAccessToken:
    """§4.1"""

    @pytest.mark.parametrize(
        ("method", "target"),
        [
            ("GET", "/envs"),
            ("GET", "/metrics"),
            ("POST", "/files/compose"),
            ("HEAD", "/files"),
            ("HEAD", "/health"),
            ("POST", "/health"),
            ("GET", "/init"),
            ("GET", "/files/"),
            ("GET", "/nowhere"),
            ("OPTIONS", "/envs"),
            ("POST", "/process.Process/List"),
            ("POST", "/process.Process/Start"),
            ("POST", "/filesystem.Filesystem/Stat"),
        ],
    )
    @pytest.mark.parametrize("token", [None, "", "to", "toke", "TOK", "\xff"])
    def test_without_the_token_everything_else_is_401(self, secured: Agent, method: str, target: str, token: str | None) -> None:
        headers = {"content-type": "application/connect+json"} | ({} if token is None else {"x-access-token": token})
        status, answered, body = secured.request(method, target, seal({}), headers)
        assert (status, answered["content-type"]) == (401, "application/json; charset=utf-8")
        assert body == (b"" if method == "HEAD" else UNAUTHORIZED)

    @pytest.mark.parametrize(("method", "target", "status"), [("GET", "/health", 204), ("GET", "/files?path=/etc/hostname", 401)])
    def test_exempt_paths_judge_by_themselves(self, secured: Agent, method: str, target: str, status: int) -> None:
        answered, _, body = secured.request(method, target)
        assert answered == status
        assert body != UNAUTHORIZED

    def test_the_token_opens_everything(self, secured: Agent) -> None:
        assert secured.call("process.Process/List", {}, x_access_token="tok") == (200, {})

    @pytest.mark.parametrize("target", ["/process.Process/Start", "/files", "/files/compose", "/nowhere"])
    def test_preflights_come_before_the_token_and_the_user(self, secured: Agent, target: str) -> None:
        status, headers, _ = secured.request("OPTIONS", target, headers=PREFLIGHT | {"authorization": "Basic Z2hvc3Q6"})
        assert (status, headers["access-control-allow-origin"]) == (204, "*")

    def test_a_refusal_may_be_read_by_a_browser(self, secured: Agent) -> None:
        status, headers, _ = secured.request("GET", "/envs", headers={"origin": "https://a"})
        assert (status, headers["access-control-allow-origin"]) == (401, "*")

    @pytest.mark.parametrize("method", ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"])
    def test_preflight_names_the_methods_of_the_contract(self, secured: Agent, method: str) -> None:
        _, headers, _ = secured.request("OPTIONS", "/files", headers=PREFLIGHT | {"access-control-request-method": method})
        assert headers["access-control-allow-methods"] == (None if method == "TRACE" else method)


class TestEncodings:
    """§1.1: both codecs on every call, gzip in, a clear word for everything else."""

    @staticmethod
    def answer(agent: Agent, name: str, body: bytes, content_type: str, **headers: str) -> tuple[int, str | None, bytes]:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        status, answered, data = agent.request("POST", f"/process.Process/{name}", body, {"content-type": content_type, **named})
        return status, answered["content-type"], data

    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize("name", UNARY)
    def test_unary_calls_mean_the_same_in_both_codecs(self, agent: Agent, name: str, compressed: bool) -> None:
        message: Message = UNARY[name]
        pack, encoding = (gzip.compress, {"content_encoding": "gzip"}) if compressed else (bytes, {"content_encoding": "identity"})
        binary = self.answer(agent, name, pack(message.SerializeToString()), "application/proto", **encoding)
        text = self.answer(agent, name, pack(as_json(message)), "application/json; charset=utf-8", **encoding)
        if name == "List":
            assert (binary[0], text[0]) == (200, 200)
            assert (binary[1], text[1]) == ("application/proto", "application/json")
        else:
            assert binary == text == (404, "application/json", text[2])
            assert json.loads(text[2])["code"] == "not_found"

    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize("name", STREAMS)
    def test_streams_mean_the_same_in_both_codecs(self, agent: Agent, name: str, compressed: bool) -> None:
        message: Message = STREAMS[name]
        encoding = {"connect_content_encoding": "gzip" if compressed else "identity"}
        for codec, payload in (("proto", message.SerializeToString()), ("json", as_json(message))):
            packed = gzip.compress(payload) if compressed else payload
            frame = struct.pack(">BI", int(compressed), len(packed)) + packed
            status, kind, data = self.answer(agent, name, frame, f"application/connect+{codec}", **encoding)
            assert (status, kind) == (200, f"application/connect+{codec}")
            assert data == seal_compact({"error": {"code": "not_found", "message": "process with pid 999999 not found"}})

    @pytest.mark.parametrize("name", [*UNARY, *STREAMS, "Start"])
    def test_other_media_types_and_methods(self, agent: Agent, name: str) -> None:
        streams = "application/connect+json, application/connect+proto"
        for kind in ("", "text/plain", "application/grpc", "application/json" if name not in UNARY else "application/connect+json"):
            status, headers, _ = agent.request("POST", f"/process.Process/{name}", b"", {"content-type": kind})
            assert (status, headers["accept-post"]) == (415, "application/json, application/proto" if name in UNARY else streams)
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            status, headers, _ = agent.request(method, f"/process.Process/{name}")
            assert (status, headers["allow"]) == (405, "POST")

    @pytest.mark.parametrize("name", [*UNARY, *STREAMS, "Start"])
    def test_unknown_compression_names_the_known_ones(self, agent: Agent, name: str) -> None:
        expected = {"code": "unimplemented", "message": 'unknown compression "br": supported encodings are gzip, identity'}
        if name in UNARY:
            status, _, body = self.answer(agent, name, b"{}", "application/json", content_encoding="br")
            assert (status, json.loads(body)) == (501, expected)
        else:
            _, _, body = self.answer(agent, name, seal({}), "application/connect+json", connect_content_encoding="br")
            assert json.loads(body[5:]) == {"error": expected}

    @pytest.mark.parametrize("name", [*UNARY, *STREAMS, "Start"])
    def test_a_timeout_that_is_no_number_is_invalid_on_every_call(self, agent: Agent, name: str) -> None:
        """§1.5"""
        kind = "application/json" if name in UNARY else "application/connect+json"
        _, _, body = self.answer(agent, name, b"{}" if name in UNARY else seal({}), kind, connect_timeout_ms="soon")
        assert b'"code":"invalid_argument"' in body


def test_the_first_python_client_is_recognised_by_its_exact_name(agent: Agent) -> None:
    """§1.7"""
    for name, answer in (("connect-python", "true"), ("connect-python/1", None), ("connectrpc/0.12.1", None)):
        assert agent.request("GET", "/health", headers={"user-agent": name})[1]["x-e2b-legacy-sdk"] == answer


def as_json(message: Message) -> bytes:
    return json_format.MessageToJson(message).encode()


def seal_compact(message: dict[str, Any]) -> bytes:
    payload = json.dumps(message, separators=(",", ":")).encode()
    return struct.pack(">BI", 2, len(payload)) + payload
