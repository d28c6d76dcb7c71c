"""Links to upload by (templates contract §1.2.6, §16; rest-api §14.4)."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from sandbank.domain.errors import DeniedError, InvalidError
from sandbank.template_manager.core.upload_link import LIFE_SECONDS, check_link, make_link, path_of, sign

KEY = b"key"
HASH = "a" * 64


def _sent(link: str) -> tuple[str, int, str]:
    values = {name: found[0] for name, found in parse_qs(urlsplit(link).query).items()}
    return values["path"], int(values["expires"]), values["token"]


def test_a_link_leads_to_its_archive_for_half_an_hour() -> None:
    path, expires, token = _sent(make_link(KEY, path_of("team", HASH), 1000))
    assert expires == 1000 + 1800 == 1000 + LIFE_SECONDS
    assert check_link(KEY, path, expires, token, 1000 + LIFE_SECONDS) == ("team", HASH)
    with pytest.raises(DeniedError):
        check_link(KEY, path, expires, token, 1001 + LIFE_SECONDS)


@pytest.mark.parametrize("change", ["path", "expires", "token", "key"])
def test_a_link_that_was_changed_leads_nowhere(change: str) -> None:
    path, expires, token = _sent(make_link(KEY, path_of("team", HASH), 1000))
    if change == "path":
        path = path_of("others", HASH)
    expires += change == "expires"
    token = token[:-1] + ("0" if token[-1] != "0" else "1") if change == "token" else token
    with pytest.raises(DeniedError):
        check_link(b"other" if change == "key" else KEY, path, expires, token, 1000)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "team/files/short.tar", f"a/b/files/{HASH}.tar", f"../files/{HASH}.tar"])
def test_a_path_that_is_none_of_ours_is_refused_with_a_valid_token(path: str) -> None:
    with pytest.raises(InvalidError):
        check_link(KEY, path, 2000, sign(KEY, path, 2000), 1000)


def test_a_token_that_is_no_text_of_ours_is_only_wrong() -> None:
    with pytest.raises(DeniedError):
        check_link(KEY, path_of("team", HASH), 2000, "é", 1000)


@pytest.mark.parametrize(("scope", "digest"), [("team", "A" * 64), ("team", "a" * 63), ("..", HASH), ("", HASH), ("a/b", HASH)])
def test_names_that_cannot_be_are_refused(scope: str, digest: str) -> None:
    with pytest.raises(InvalidError):
        path_of(scope, digest)
