"""What banned and blocked teams may do, and how slugs are made (REST contract §3.3, templates contract §3.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbank.api.core.team import Team, require_allowed
from sandbank.domain.errors import DeniedError
from sandbank.domain.slug import derive_slug

TEAM = Team("t", "slug", "Team", 20, 1)


@pytest.mark.parametrize(
    "route",
    [
        "GET /sandboxes/{sandbox_id}",
        "GET /sandboxes/{any_other_name}",
        "GET /templates/{id}/builds/{build}/logs",
        "GET /teams/{team_id}/metrics/max",
        "GET /volumes/{volume_id}",
        "GET /secrets",
        "DELETE /templates/tags",
        "DELETE /api-keys/{key_id}",
    ],
)
def test_blocked_teams_look_and_clean_up(route: str) -> None:
    method, path = route.split()
    blocked = replace(TEAM, is_blocked=True)
    require_allowed(blocked, method, path)
    with pytest.raises(DeniedError, match=r"^team is banned$"):
        require_allowed(replace(blocked, is_banned=True), method, path)


@pytest.mark.parametrize(
    "route", ["POST /v2/sandboxes", "POST /sandboxes/{id}/pause", "PATCH /api-keys/{id}", "GET /nodes", "PUT /sandboxes/{id}"]
)
def test_blocked_teams_do_nothing_else(route: str) -> None:
    method, path = route.split()
    require_allowed(TEAM, method, path)
    with pytest.raises(DeniedError, match=r"^team is blocked$"):
        require_allowed(replace(TEAM, is_blocked=True), method, path)
    with pytest.raises(DeniedError, match=r"^team is blocked: unpaid$"):
        require_allowed(replace(TEAM, is_blocked=True, blocked_reason="unpaid"), method, path)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("local-dev team", "local-dev-team"),
        ("someone@example.org", "someone"),
        ("Jörg  & Söhne!", "jorg-sohne"),
        ("\uff21\uff22", "ab"),
        ("日本", "team"),
        ("ＩSTANBUL İ", "istanbul-i"),
        ("../../etc", "etc"),
        ("a/b:c", "abc"),
        ("", "team"),
        ("x" * 300, "x" * 50),
    ],
)
def test_slugs_are_plain(name: str, slug: str) -> None:
    assert derive_slug(name) == slug
