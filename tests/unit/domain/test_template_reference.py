"""The grammar of template references, by the contract's examples."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.domain.errors import InvalidError
from sandbank.domain.template_reference import TemplateReference, parse_template_reference

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base", (None, "base", None)),
        ("MyTemplate:Prod", (None, "mytemplate", "prod")),
        ("x:default", (None, "x", None)),
        ("  my-template  :  v1  ", (None, "my-template", "v1")),
        ("team/x:v1.2", ("team", "x", "v1.2")),
    ],
)
def test_parses(text: str, expected: tuple[str | None, str, str | None]) -> None:
    assert parse_template_reference(text) == TemplateReference(*expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/x", "invalid namespace: "),
        ("x:", "invalid tag: "),
        ("my template!", "invalid template ID: my template!"),
        ("", "invalid template ID: "),
        ("a/b/c", "invalid template ID: b/c"),
        ("a:b:c", "invalid tag: b:c"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_template_reference(text)
    assert caught.value.message == message


def test_a_uuid_means_that_build() -> None:
    build = uuid.uuid4()
    assert parse_template_reference(f"x:{build}").build_id == build
    assert parse_template_reference("x:v1").build_id is None


@given(st.none() | NAMES, NAMES, st.none() | NAMES.filter(lambda tag: tag != "default"))
def test_what_is_written_reads_the_same(namespace: str | None, identifier: str, tag: str | None) -> None:
    reference = TemplateReference(namespace, identifier, tag)
    assert parse_template_reference(str(reference)) == reference
