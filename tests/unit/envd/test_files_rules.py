"""The rules around file content: signatures, encodings, ranges, types, metadata, modes."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.domain.errors import InvalidError
from sandbank.envd.files.media_type import by_content, by_extension
from sandbank.envd.files.negotiation import choose_encoding, failed_precondition, parse_date, parse_range
from sandbank.envd.files.signature import sign
from sandbank.envd.filesystem.entry import permissions
from sandbank.envd.filesystem.metadata import from_headers
from sandbank.envd.initialisation import parse_timestamp
from sandbank.envd.transport.response import http_date


def test_signature_vector() -> None:
    token = "0tQG31xiMp0IOQfaz9dcwi72L1CPo8e0"
    assert sign("hello.txt", "read", "user", token, None) == "v1_gUtH/s9YCJWgCizjfUxuWfhFE4QSydOWEIIvfLwDr6E"
    assert sign("hello.txt", "read", "user", token, 5) != sign("hello.txt", "read", "user", token, None)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip, deflate, br", "gzip"),
        ("identity", "identity"),
        ("*", "identity"),
        ("br", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip;q=0", "identity"),
        ("br, identity;q=0", None),
        ("br, *;q=0", None),
        ("identity;q=0, *", "gzip"),
    ],
)
def test_encoding(accept: str | None, expected: str | None) -> None:
    assert choose_encoding({} if accept is None else {"accept-encoding": accept}) == expected


def test_partial_requests_force_identity() -> None:
    assert choose_encoding({"accept-encoding": "gzip", "range": "bytes=0-1"}) == "identity"
    assert choose_encoding({"accept-encoding": "gzip, identity;q=0", "range": "bytes=0-1"}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-3", (0, 4)),
        ("bytes=8-", (8, 2)),
        ("bytes=-3", (7, 3)),
        ("bytes=-30", (0, 10)),
        ("bytes=5-100", (5, 5)),
        ("bytes=10-", (10, 0)),
        ("bytes=3-1", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=1-2", None),
    ],
)
def test_range(text: str, expected: tuple[int, int] | None) -> None:
    assert parse_range(text, 10) == expected


@given(st.integers(0, 2**33))
def test_dates_come_back(seconds: int) -> None:
    assert parse_date(http_date(seconds)) == seconds


def test_timestamps() -> None:
    assert parse_timestamp("1970-01-01T00:00:01.000000005Z") == 1_000_000_005
    assert parse_timestamp("1970-01-01T01:00:00+01:00") == 0
    with pytest.raises(InvalidError):
        parse_timestamp("yesterday")


def test_media_types() -> None:
    assert by_extension("a.HTML") == "text/html; charset=utf-8"
    assert by_extension("noextension") is None
    assert by_content(b"") == "text/plain; charset=utf-8"
    assert by_content(b"\x89PNG\r\n\x1a\n...") == "image/png"
    assert by_content(b"a\x00b") == "application/octet-stream"


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (stat.S_IFREG | 0o644, "-rw-r--r--"),
        (stat.S_IFDIR | 0o755, "drwxr-xr-x"),
        (stat.S_IFLNK | 0o777, "Lrwxrwxrwx"),
        (stat.S_IFDIR | stat.S_ISVTX | 0o777, "dtrwxrwxrwx"),
        (stat.S_IFREG | stat.S_ISUID | 0o755, "urwxr-xr-x"),
    ],
)
def test_permissions(mode: int, text: str) -> None:
    assert permissions(mode) == text


def test_metadata_headers() -> None:
    assert from_headers({"x-metadata-author": "mish", "other": "x"}) == {"author": "mish"}
    for headers in ({"x-metadata-": "x"}, {"x-metadata-a": "ü"}, {"x-metadata-" + "k" * 247: ""}, {"x-metadata-a": "x" * 4096}):
        with pytest.raises(InvalidError, match="invalid metadata"):
            from_headers(headers)


@given(st.text(max_size=40), st.integers(0, 2**63))
def test_any_range_lies_within_the_file(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        part = parse_range(header, size)
        assert part is None or (0 <= part[0] <= size and 0 <= part[1] <= size - part[0])


@given(st.dictionaries(st.sampled_from(["accept-encoding", "range"]), st.text(max_size=60)))
def test_any_accept_header_gets_an_answer(headers: dict[str, str]) -> None:
    assert choose_encoding(headers) in ("gzip", "identity", None)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"if-modified-since": "Thu, 01 Jan 1970 00:01:40 GMT"}, 304),
        ({"if-modified-since": "Thu, 01 Jan 1970 00:01:39 GMT"}, None),
        ({"if-modified-since": "Thu, 01 Jan 1970 00:01:40 GMT", "if-none-match": '"x"'}, None),
        ({"if-none-match": "*"}, 304),
        ({"if-match": "*"}, None),
        ({"if-match": '"x"'}, 412),
        ({"if-unmodified-since": "Thu, 01 Jan 1970 00:01:39 GMT"}, 412),
        ({"if-unmodified-since": "nonsense"}, None),
    ],
)
def test_preconditions(headers: dict[str, str], expected: int | None) -> None:
    assert failed_precondition(headers, 100) == expected
