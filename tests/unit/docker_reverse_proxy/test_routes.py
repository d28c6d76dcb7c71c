"""What a client's request becomes, and what a registry's `Location` becomes (contract templates-and-data §1.1.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.docker_reverse_proxy.core.continuations import Continuations
from sandbank.docker_reverse_proxy.core.registry_url import RegistryUrl
from sandbank.docker_reverse_proxy.core.routes import Routes
from sandbank.domain.errors import InvalidError

OURS = "/v2/e2b/custom-envs/abc/"
THEIRS = "/v2/project/repo/abc/"
DIGEST = "sha256:" + "0" * 64
ROUTES = Routes("project/repo/", Continuations(b"secret"))


@pytest.mark.parametrize(
    ("method", "path", "upstream"),
    [
        ("GET", f"blobs/{DIGEST}", f"blobs/{DIGEST}"),
        ("HEAD", f"blobs/{DIGEST}?ns=x", f"blobs/{DIGEST}"),
        ("PUT", "manifests/11111111-1111-4111-8111-111111111111", "manifests/11111111-1111-4111-8111-111111111111"),
        ("GET", f"manifests/{DIGEST}", f"manifests/{DIGEST}"),
        ("POST", "blobs/uploads/", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?digest={DIGEST}", f"blobs/uploads/?digest={DIGEST}"),
        ("POST", f"blobs/uploads/?mount={DIGEST}&from=e2b/custom-envs/abc", f"blobs/uploads/?mount={DIGEST}&from=project/repo/abc"),
        ("POST", f"blobs/uploads/?mount={DIGEST}&from=e2b/custom-envs/other", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?mount={DIGEST}&from=project/repo/abc", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?mount={DIGEST}", "blobs/uploads/"),
        (
            "POST",
            f"blobs/uploads/?from=e2b/custom-envs/abc&mount={DIGEST}&from=e2b/custom-envs/other",
            "blobs/uploads/",
        ),
        ("PATCH", "blobs/uploads/6b3c9a93?_state=a%2Fb", "blobs/uploads/6b3c9a93?_state=a%2Fb"),
        ("PUT", f"blobs/uploads/6b3c?_state=a&digest={DIGEST}", f"blobs/uploads/6b3c?_state=a&digest={DIGEST}"),
        ("GET", "tags/list?n=5", "tags/list?n=5"),
        ("DELETE", f"blobs/{DIGEST}", None),
        ("DELETE", "manifests/x", None),
        ("DELETE", "blobs/uploads/6b3c", None),
        ("POST", "manifests/x", None),
        ("PUT", f"blobs/{DIGEST}", None),
        ("GET", "blobs/uploads/", None),
        ("GET", "blobs/sha256:..", None),
        ("GET", "manifests/a/b", None),
        ("GET", "", None),
    ],
)
def test_what_pushes_and_pulls_consist_of_has_a_way(method: str, path: str, upstream: str | None) -> None:
    """And nothing else; mounts come from the same repository only."""
    assert ROUTES.find_target(method, OURS + path, "abc") == (None if upstream is None else THEIRS + upstream)
    assert ROUTES.find_target(method, OURS + path, "other") is None
    assert ROUTES.find_target(method, OURS + path, "") is None


@given(st.text(alphabet="/.%:abc25eufAE-_?=&s0", max_size=60), st.sampled_from(["GET", "PUT", "PATCH", "POST", "DELETE"]))
def test_no_path_leaves_the_repository(path: str, method: str) -> None:
    """Whatever is asked, what goes upstream is below the template's own repository, without dots, escapes and empty segments."""
    found = ROUTES.find_target(method, OURS + path, "abc")
    if found is not None:
        assert found.startswith(THEIRS)
        rest = found.partition("?")[0].removeprefix(THEIRS).removesuffix("/")
        assert "%" not in rest
        assert all(segment.strip(".") for segment in rest.split("/"))


@pytest.mark.parametrize("host", ["", "http://registry:5000", "https://registry"])
def test_locations_lead_back_here(host: str) -> None:
    """Relative ones and absolute ones of the registry, whatever it thinks its scheme and port are."""
    location = f"{host}{THEIRS}blobs/uploads/6b3c?_state=x"
    assert ROUTES.rewrite_location(location, "registry", "abc") == f"{OURS}blobs/uploads/6b3c?_state=x"
    assert ROUTES.rewrite_location(f"{host}{THEIRS}manifests/{DIGEST}", "registry", "abc") == f"{OURS}manifests/{DIGEST}"


def test_locations_in_object_storage_stay() -> None:
    """Blobs may be fetched from there directly; nonsense is not ours to repair."""
    for location in ("https://bucket.example.com/blob?signature=x", "http://["):
        assert ROUTES.rewrite_location(location, "registry", "abc") == location


@pytest.mark.parametrize(
    "target",
    [
        "/artifacts-uploads/namespaces/p/repositories/r/uploads/AJ/x?upload_id=1",
        "/v2/project/repo/pkg/blobs/uploads/6b3c",
        f"{THEIRS}blobs/uploads/../x",
        f"{THEIRS}blobs/uploads/s.x",
    ],
)
def test_uploads_elsewhere_are_sealed_for_the_template(target: str) -> None:
    """§1.1.2: Google's upload URLs; here only the token's template leads there."""
    location = ROUTES.rewrite_location(target, "registry", "abc")
    assert location.startswith(f"{OURS}blobs/uploads/s.")
    assert ROUTES.find_target("PATCH", location, "abc") == target
    mark = "&" if "?" in target else "?"
    assert ROUTES.find_target("PUT", f"{location}?digest={DIGEST}", "abc") == f"{target}{mark}digest={DIGEST}"
    assert ROUTES.find_target("PATCH", location.replace("/abc/", "/other/"), "other") is None
    assert Routes("project/repo/", Continuations(b"another")).find_target("PATCH", location, "abc") is None
    assert ROUTES.find_target("PATCH", location[:-2] + "AA", "abc") is None


def test_a_registry_without_a_prefix_has_templates_at_its_root() -> None:
    """As the image store has."""
    routes = Routes(RegistryUrl.parse("http://127.0.0.1:5001").prefix, Continuations(b"secret"))
    assert routes.find_target("GET", OURS + "manifests/x", "abc") == "/v2/abc/manifests/x"
    assert routes.rewrite_location("/v2/abc/blobs/uploads/1", "127.0.0.1", "abc") == f"{OURS}blobs/uploads/1"


def test_a_registry_is_named_by_a_url() -> None:
    """With port and prefix, or without."""
    url = RegistryUrl.parse("https://europe-docker.pkg.dev/project/repo/")
    assert (url.host, url.port, url.prefix, url.authority, url.root) == (
        "europe-docker.pkg.dev",
        443,
        "project/repo/",
        "europe-docker.pkg.dev",
        "https://europe-docker.pkg.dev",
    )
    assert RegistryUrl.parse("http://[::1]:5000").authority == "[::1]:5000"
    for text in (
        "registry:5000",
        "ftp://x",
        "http://",
        "http://x/A",
        "http://x/a//b",
        "http://u:p@x",
        "http://x/?q",
        "http://x:y",
        "http://x/..",
    ):
        with pytest.raises(InvalidError):
            RegistryUrl.parse(text)
