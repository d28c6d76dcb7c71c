from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.runtime.network.query import MalformedMessageError, answers, failure, is_query, question_of
from sandbank.runtime.network.upstreams import parse

QUERY = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\4test\0\0\1\0\1"
ANSWER = b"\x12\x34\x81\x80" + QUERY[4:]


def test_an_answer_must_match() -> None:
    question = question_of(QUERY)
    assert answers(ANSWER, b"\x12\x34", question)
    assert answers(ANSWER.replace(b"test", b"TeSt"), b"\x12\x34", question)
    assert not answers(ANSWER, b"\x12\x35", question)
    assert not answers(QUERY, b"\x12\x34", question)
    assert not answers(ANSWER.replace(b"test", b"evil"), b"\x12\x34", question)


def test_a_failure_answers_the_query() -> None:
    answer = failure(QUERY)
    assert answers(answer, QUERY[:2], question_of(QUERY))
    assert answer[3] & 0x0F == 2


@given(st.binary(max_size=200))
def test_rubbish_is_refused_in_one_way(data: bytes) -> None:
    is_query(data)
    answers(data, b"ab", b"")
    try:
        question_of(data)
    except MalformedMessageError:
        return
    failure(data)


@pytest.mark.parametrize("end", range(len(QUERY)))
def test_a_cut_query_is_refused(end: int) -> None:
    with pytest.raises(MalformedMessageError):
        question_of(QUERY[:end])


def test_name_servers_are_read_as_the_c_library_does() -> None:
    text = "# x\nsearch a\nnameserver 127.0.0.53\n nameserver ::1 \nnameserver bad\nnameserver\n;nameserver 1.1.1.1\n"
    assert parse(text) == [("127.0.0.53", 53), ("::1", 53)]
