"""What clients mean by a path."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.domain.errors import InvalidError
from sandbank.envd.paths import base_name, resolve, wire_text

texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


def of(path: str, workdir: str | None = None) -> str:
    return resolve(path, username="user", home="/home/user", default_workdir=workdir)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("~", "/home/user"),
        ("~/a", "/home/user/a"),
        ("a/../b", "/home/user/b"),
        ("./a//b/", "/home/user/a/b"),
        ("../other", "/home/other"),
        ("/a/../b", "/a/../b"),
        ("a~b", "/home/user/a~b"),
    ],
)
def test_examples(path: str, expected: str) -> None:
    assert of(path) == of(path, "/work") == expected


def test_nothing_means_the_workdir_or_home() -> None:
    assert of("") == "/home/user"
    assert of("", "/work") == "/work"


@given(texts)
def test_absolute_paths_stay_verbatim(text: str) -> None:
    assert of("/" + text) == "/" + text


@given(texts.filter(lambda text: text[0] not in "/~"))
def test_relative_paths_count_from_home_and_are_clean(text: str) -> None:
    result = of(text, "/work")
    assert result == posixpath.normpath(result) == posixpath.normpath("/home/user/" + text)


@given(texts.filter(lambda text: text[0] != "/"))
def test_other_homes_are_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="cannot expand user-specific home dir"):
        of("~" + text)


components = st.sampled_from(["..", ".", "", "a", "~", "~root", "-rf", "\udcff", "ä", " ", "\n"])


@given(st.lists(components, max_size=12), st.booleans())
def test_nothing_escapes_the_root(parts: list[str], absolute: bool) -> None:
    """Whatever a path is made of, it is refused or absolute, and the cleaned ones have no way up left."""
    text = ("/" if absolute else "") + "/".join(parts)
    try:
        result = of(text, "/work")
    except InvalidError:
        assert text.startswith("~")
        return
    assert result.startswith("/")
    assert not posixpath.normpath(result).startswith("/..")
    if not text.startswith("/"):
        assert ".." not in result.split("/")
    wire_text(result).encode()


@given(st.text(max_size=60))
def test_any_text_is_a_path_or_a_clear_refusal(text: str) -> None:
    try:
        assert of(text).startswith("/")
    except InvalidError as error:
        assert error.message  # noqa: PT017


def test_nul_is_refused() -> None:
    with pytest.raises(InvalidError):
        of("/a\0b")


def test_base_name_and_wire_text() -> None:
    assert [base_name(path) for path in ("/a/b", "/a/b//", "/")] == ["b", "b", "/"]
    assert wire_text("a\udcffb") == "a\ufffdb"
