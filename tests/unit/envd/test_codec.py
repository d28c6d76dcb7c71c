"""Both codecs, as the contract's §1.4 has them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.contracts.filesystem import EntryInfo, FileType
from sandbank.contracts.process import ProcessEvent, SendInputRequest, SendSignalRequest, StartRequest, StartResponse
from sandbank.domain.errors import InvalidError
from sandbank.envd.connect.codec import CODECS, Codec
from sandbank.envd.process.encoding import encode_event, encode_keepalive, encode_start
from sandbank.envd.process.subscription import Output

JSON, PROTO = CODECS["json"], CODECS["proto"]


def test_json_output_follows_the_contract() -> None:
    entry = EntryInfo(name="a", type=FileType.FILE_TYPE_FILE, size=5, mode=420, symlink_target="")
    entry.modified_time.seconds = 1
    entry.modified_time.nanos = 120_000_000
    assert json.loads(JSON.encode(entry)) == {
        "name": "a",
        "type": "FILE_TYPE_FILE",
        "size": "5",
        "mode": 420,
        "symlinkTarget": "",
        "modifiedTime": "1970-01-01T00:00:01.120Z",
    }


@pytest.mark.parametrize("text", ['{"process":{"cmd":"a"},"nope":1}', '{"process":{"cmd":"a","envs":null}}'])
def test_json_input_is_lenient(text: str) -> None:
    assert JSON.decode(text.encode(), StartRequest).process.cmd == "a"


@pytest.mark.parametrize("stdin", ["/+8=", "_-8=", "/+8", "_-8"])
def test_every_base64_is_taken(stdin: str) -> None:
    request = JSON.decode(json.dumps({"input": {"stdin": stdin}}).encode(), SendInputRequest)
    assert request.input.stdin == b"\xff\xef"


def test_an_empty_payload_is_still_there() -> None:
    assert JSON.decode(b'{"input":{"stdin":""}}', SendInputRequest).input.WhichOneof("input") == "stdin"


def test_enums_by_number_and_name() -> None:
    assert JSON.decode(b'{"signal":9}', SendSignalRequest) == JSON.decode(b'{"signal":"SIGNAL_SIGKILL"}', SendSignalRequest)


def test_unknown_enum_names_are_ignored_like_unknown_fields() -> None:
    assert JSON.decode(b'{"signal":"NOPE"}', SendSignalRequest).signal == 0


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"process":1}', b"\xff\xfe"])
def test_bad_json_is_invalid(payload: bytes) -> None:
    with pytest.raises(InvalidError):
        JSON.decode(payload, SendSignalRequest)


def test_bad_proto_is_invalid() -> None:
    with pytest.raises(InvalidError):
        PROTO.decode(b"\xff", SendSignalRequest)


@pytest.mark.parametrize("codec", [JSON, PROTO], ids=["json", "proto"])
@given(data=st.binary(max_size=100), stream=st.sampled_from(["stdout", "stderr", "pty"]))
def test_the_fast_path_says_what_the_slow_one_would(codec: Codec, data: bytes, stream: str) -> None:
    event = codec.decode(encode_event(codec, Output(stream, data)), StartResponse).event.data
    assert event.WhichOneof("output") == stream
    assert getattr(event, stream) == data


@pytest.mark.parametrize("codec", [JSON, PROTO], ids=["json", "proto"])
def test_other_events(codec: Codec) -> None:
    assert codec.decode(encode_start(codec, 7), StartResponse).event.start.pid == 7
    assert codec.decode(encode_keepalive(codec), StartResponse).event.WhichOneof("event") == "keepalive"
    end = ProcessEvent.EndEvent(exit_code=-1, status="signal: killed", error="signal: killed")
    assert codec.decode(encode_event(codec, end), StartResponse).event.end == end


def test_the_exit_code_is_zigzag() -> None:
    assert ProcessEvent.EndEvent(exit_code=-1).SerializeToString() == b"\x08\x01"
