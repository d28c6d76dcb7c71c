"""The metadata filter, as the SDKs encode it."""

from __future__ import annotations

from urllib.parse import quote, unquote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.api.core.metadata_filter import matches, parse_metadata_filter
from sandbank.domain.errors import InvalidError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)


@given(st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=4))
def test_reads_what_the_sdks_write(metadata: dict[str, str]) -> None:
    parameter = urlencode({quote(key, safe=""): quote(value, safe="") for key, value in metadata.items()})
    on_the_wire = quote(parameter, safe="")
    assert parse_metadata_filter(unquote_plus(on_the_wire)) == metadata


@pytest.mark.parametrize("text", ["", "k", "k=v&", "k=v=w", "a=b&c"])
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_metadata_filter(text)


def test_all_pairs_must_match() -> None:
    assert matches({"a": "1", "b": "2"}, {"a": "1"})
    assert not matches({"a": "1"}, {"a": "1", "b": "2"})
    assert matches({}, {})
