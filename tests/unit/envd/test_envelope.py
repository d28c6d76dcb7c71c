"""Envelopes survive any way of cutting them up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.domain.errors import ExhaustedError, InvalidError
from sandbank.envd.connect.envelope import Envelope, EnvelopeReader, seal

envelopes = st.lists(st.builds(Envelope, st.integers(0, 255), st.binary(max_size=60)), max_size=8)


@given(envelopes, st.lists(st.integers(1, 40)))
def test_any_portions_give_the_same_envelopes(sent: list[Envelope], sizes: list[int]) -> None:
    data = b"".join(seal(one.payload, one.flags) for one in sent)
    reader = EnvelopeReader()
    found: list[Envelope] = []
    for size in [*sizes, len(data) + 1]:
        found += reader.feed(data[:size])
        data = data[size:]
    reader.finish()
    assert found == sent


@given(st.binary(min_size=1, max_size=60), st.integers(1, 64))
def test_a_cut_envelope_is_an_error(payload: bytes, missing: int) -> None:
    data = seal(payload)
    reader = EnvelopeReader()
    assert reader.feed(data[: max(1, len(data) - missing)]) == []
    with pytest.raises(InvalidError):
        reader.finish()


def test_an_announced_excess_is_refused_before_it_arrives() -> None:
    with pytest.raises(ExhaustedError):
        EnvelopeReader(limit_bytes=10).feed(seal(b"x" * 11)[:5])
