"""Names of images: Docker's defaults, and E2B's words for what is none (contract templates-and-data §1.12)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.domain.errors import InvalidError
from sandbank.registry.reference import ImageReference, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full", "api_host"),
    [
        ("debian", "docker.io/library/debian:latest", "registry-1.docker.io"),
        ("e2bdev/base", "docker.io/e2bdev/base:latest", "registry-1.docker.io"),
        ("docker.io/debian:12", "docker.io/library/debian:12", "registry-1.docker.io"),
        ("index.docker.io/library/debian", "docker.io/library/debian:latest", "registry-1.docker.io"),
        ("localhost/x", "localhost/x:latest", "localhost"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000"),
        ("GHCR.io/owner/name/deep:V1.0_x", "ghcr.io/owner/name/deep:V1.0_x", "ghcr.io"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000"),
        (f"debian@{DIGEST}", f"docker.io/library/debian:latest@{DIGEST}", "registry-1.docker.io"),
        (f"r.example/debian:12@{DIGEST}", f"r.example/debian:12@{DIGEST}", "r.example"),
        ("a__b/c-d.e--f", "docker.io/a__b/c-d.e--f:latest", "registry-1.docker.io"),
    ],
)
def test_names_are_completed_as_docker_does(text: str, full: str, api_host: str) -> None:
    found = parse_reference(text)
    assert (str(found), found.api_host) == (full, api_host)


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", ":", "@", "a:", "a@", "A", "a/B", "a//b", "/a", "a/", "a..b", "-a", "a b", "a\n", "a:b:c", "a:" + "x" * 129, "a" * 256),
        *(
            "http://x/y",
            "x.example:99999/y",
            "x.example:0/y",
            "x_.example/y",
            "a@sha256:00",
            f"a@{DIGEST}0",
            "a@md5:00",
            "../x",
            "x.y/../z",
        ),
        *("user@host/x", "user:pw@x.example/y", "a:.x", "x.example/y?z", "x.example/y#z", "é", "x.example:80:80/y", ".x/y"),
    ],
)
def test_what_is_no_name_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidError, match=r"^invalid image reference '"):
        parse_reference(text)


component = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
registries = st.sampled_from(["docker.io", "ghcr.io", "localhost", "localhost:5000", "10.1.2.3:80", "a-b.c", "[fe80::1]:7"])


@given(
    registries,
    st.lists(component, min_size=2, max_size=4),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.booleans(),
)
def test_a_name_in_full_means_itself(registry: str, parts: list[str], tag: str, has_digest: bool) -> None:
    reference = ImageReference(registry, "/".join(parts), tag, DIGEST if has_digest else "")
    assert parse_reference(str(reference)) == reference


@given(st.text(max_size=300))
def test_any_text_is_a_name_that_fits_into_a_url_or_an_error(text: str) -> None:
    try:
        found = parse_reference(text)
    except InvalidError:
        return
    assert parse_reference(str(found)) == found
    assert not set(found.repository + found.tag) & set("?#%@ \n\\")
    assert ".." not in found.repository.split("/")
