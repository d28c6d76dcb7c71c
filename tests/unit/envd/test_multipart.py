"""Multipart bodies, in any portions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.domain.errors import InvalidError
from sandbank.envd.files.multipart import MultipartParser, PartBegin, PartData, PartEnd, parameters

BOUNDARY = "xyz"


def encode(parts: list[tuple[str, bytes]]) -> bytes:
    body = b""
    for filename, data in parts:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: x/y\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def decode(portions: list[bytes]) -> list[tuple[str, bytes]]:
    parser = MultipartParser(BOUNDARY)
    found: list[tuple[str, bytes]] = []
    ended = 0
    for portion in portions:
        for event in parser.feed(portion):
            match event:
                case PartBegin(name="file", filename=str(filename)):
                    found.append((filename, b""))
                case PartData(data):
                    found[-1] = (found[-1][0], found[-1][1] + data)
                case PartEnd():
                    ended += 1
    parser.finish()
    assert ended == len(found)
    return found


contents = st.binary(max_size=80) | st.lists(st.sampled_from([b"\r\n", b"--", b"xyz", b"\r", b"\n--xy", b"-"]), max_size=12).map(b"".join)
parts = st.lists(st.tuples(st.sampled_from(["a.txt", "/0/b", "dir/ü"]), contents), max_size=4)


@given(parts, st.integers(1, 50))
def test_any_portions_give_the_same_parts(sent: list[tuple[str, bytes]], size: int) -> None:
    if any(b"\r\n--xyz" in b"\r\n" + data for _, data in sent):
        return  # no valid encoding with this boundary
    data = b"preamble\r\n" + encode(sent) + b"epilogue"
    assert decode([data[at : at + size] for at in range(0, len(data), size)]) == sent


@pytest.mark.parametrize("body", [b"", b"--xyz", encode([("a", b"data")])[:-12], encode([("a", b"data")])[:-4]])
def test_an_incomplete_body_is_an_error(body: bytes) -> None:
    with pytest.raises(InvalidError):
        decode([body])


def test_parameters() -> None:
    assert parameters('form-data; name="a\\"b"; filename=plain') == {"name": 'a"b', "filename": "plain"}
    assert parameters("form-data; filename*=utf-8''a%20%C3%BC") == {"filename": "a ü"}
    assert parameters('form-data; name="x;y=z"') == {"name": "x;y=z"}
    assert parameters("multipart/form-data; boundary=----abc") == {"boundary": "----abc"}
