"""Placeholders in header values (rest-api contract §10.1)."""

from __future__ import annotations

import pytest

from sandbank.domain.header_placeholders import IDENTITY, SECRET, fill, is_well_formed, named, references


@pytest.mark.parametrize("value", ["", "plain", "${other}", "$ {e2b.secrets.a}", "a ${e2b.secrets.A-1_b} b", "${e2b.identity.tokens.aws}"])
def test_well_formed(value: str) -> None:
    assert is_well_formed(value)


@pytest.mark.parametrize(
    "value", ["${e2b.", "${e2b.secrets.}", "${e2b.secrets.a", "${e2b.secrets.a b}", "${e2b.other.a}", "${e2b.${e2b.secrets.a}secrets.b}"]
)
def test_malformed(value: str) -> None:
    assert not is_well_formed(value)


def test_names_and_kinds() -> None:
    value = "${e2b.secrets.a}:${e2b.secrets.B} ${e2b.identity.tokens.aws}"
    assert references(value) == {"secrets.a", "secrets.B", "identity.tokens.aws"}
    assert named(sorted(references(value)), SECRET) == ["B", "a"]
    assert named(references(value), IDENTITY) == ["aws"]


def test_values_are_put_in_once() -> None:
    assert (
        fill("Basic ${e2b.secrets.a}-${e2b.secrets.b}", {"secrets.a": "${e2b.secrets.b}", "secrets.b": r"\1"})
        == r"Basic ${e2b.secrets.b}-\1"
    )
    for value in ("${e2b.secrets.c}", "${e2b.identity.tokens.c}"):
        with pytest.raises(KeyError):
            fill(value, {"secrets.a": ""})
