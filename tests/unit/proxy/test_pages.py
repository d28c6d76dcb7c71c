"""Pages, their negotiation, hidden routes, and what changes in a head."""

from __future__ import annotations

import json

import pytest

from sandbank.proxy.control_routes import clean_path, is_control_route
from sandbank.proxy.head import parse_request_head, parse_response_head
from sandbank.proxy.negotiation import wants_html
from sandbank.proxy.page import (
    Problem,
    control_route,
    port_closed,
    resume_denied,
    sandbox_not_found,
    still_transitioning,
    team_limit,
    too_many_connections,
    traffic_token_invalid,
    traffic_token_missing,
)
from sandbank.proxy.rewrite import clean_query, rewrite_request, rewrite_response

_BROWSER = {b"user-agent": b"Mozilla/5.0 (X11)"}


@pytest.mark.parametrize(
    ("fields", "html"),
    [
        ({}, False),
        (_BROWSER, True),
        ({b"user-agent": b"undici"}, False),
        ({b"user-agent": b"OPERA"}, True),
        ({**_BROWSER, b"accept": b"application/json"}, False),
        ({**_BROWSER, b"accept": b"application/json, text/html"}, True),
        ({**_BROWSER, b"sec-fetch-mode": b"cors"}, False),
        ({**_BROWSER, b"sec-fetch-mode": b"websocket"}, False),
        ({**_BROWSER, b"sec-fetch-mode": b"navigate", b"x-requested-with": b"x"}, True),
        ({**_BROWSER, b"x-requested-with": b"XMLHttpRequest"}, False),
        ({b"sec-fetch-mode": b"navigate"}, False),
    ],
)
def test_who_gets_html(fields: dict[bytes, bytes], html: bool) -> None:
    assert wants_html(fields) is html


@pytest.mark.parametrize(
    ("problem", "title", "marks"),
    [
        (sandbox_not_found("iabc"), "Sandbox Not Found", ["iabc"]),
        (port_closed("iabc", 8080), "Closed Port Error", ["iabc", "no service running on port 8080"]),
        (traffic_token_missing("iabc"), "Missing Traffic Access Token", ["iabc"]),
        (traffic_token_invalid("iabc"), "Invalid Traffic Access Token", ["iabc"]),
        (control_route("/init"), "Endpoint Not Available", ["/init"]),
        (resume_denied("iabc"), "Unable to Resume Sandbox", ["iabc"]),
        (still_transitioning("iabc"), "Sandbox Still Transitioning", ["iabc"]),
        (too_many_connections("iabc", 7), "Too Many Connections", ["iabc", "7"]),
        (team_limit("iabc", "no more than 20"), "Sandbox Limit Reached", ["iabc", "no more than 20"]),
    ],
)
def test_both_faces(problem: Problem, title: str, marks: list[str]) -> None:
    """§7.5: HTML from `<html` to `</html>` with title and markers, JSON with the status as its code."""
    page = problem.page(_BROWSER)
    text = page.body.decode()
    assert page.content_type == b"text/html; charset=utf-8"
    assert text.startswith("<html")
    assert text.endswith("</html>")
    assert f"<title>{title}</title>" in text
    for mark in marks:
        assert mark in text
    answer = problem.page({})
    assert answer.content_type == b"application/json; charset=utf-8"
    assert json.loads(answer.body)["code"] == answer.status == problem.status


_SECURED = "Sandbox is secured with traffic access token. "
_RESERVED = "This endpoint is reserved for the E2B control plane and is not reachable through the sandbox URL"


@pytest.mark.parametrize(
    ("problem", "fields"),
    [
        (sandbox_not_found("iabc"), {"sandboxId": "iabc", "message": "The sandbox was not found", "code": 502}),
        (
            port_closed("iabc", 80),
            {"sandboxId": "iabc", "message": "The sandbox is running but port is not open", "port": 80, "code": 502},
        ),
        (
            resume_denied("iabc"),
            {
                "sandboxId": "iabc",
                "message": "This sandbox can't be resumed with the credentials provided. Check your access token and try again.",
                "code": 403,
            },
        ),
        (
            still_transitioning("iabc"),
            {"sandboxId": "iabc", "message": "The sandbox is still transitioning. Try again in a moment.", "code": 409},
        ),
        (
            too_many_connections("iabc", 7),
            {
                "sandboxId": "iabc",
                "message": "The sandbox has too many concurrent incoming connections (limit: 7)",
                "code": 429,
                "connectionLimit": 7,
            },
        ),
        (team_limit("iabc", "no more than 20"), {"sandboxId": "iabc", "message": "no more than 20", "code": 429}),
        (
            traffic_token_missing("iabc"),
            {"sandboxId": "iabc", "message": _SECURED + "Token header 'e2b-traffic-access-token' is missing", "code": 403},
        ),
        (
            traffic_token_invalid("iabc"),
            {"sandboxId": "iabc", "message": _SECURED + "Provided token in header 'e2b-traffic-access-token' is invalid", "code": 403},
        ),
        (control_route("/init"), {"message": _RESERVED, "path": "/init", "code": 404}),
    ],
)
def test_each_situation_has_exactly_its_json(problem: Problem, fields: dict[str, str | int]) -> None:
    """§7.5, the table: keys, their order, texts."""
    assert list(json.loads(problem.page({}).body).items()) == list(fields.items())


def test_pages_escape_what_others_say() -> None:
    for problem in (control_route("/<script>"), team_limit("iabc", "<script>"), sandbox_not_found("<script>"), port_closed("<script>", 1)):
        assert b"<script>" not in problem.page(_BROWSER).body


def test_people_are_offered_to_try_again_where_that_may_help() -> None:
    """A link and no script or refresh: a page that is open in a forgotten tab must not knock for ever."""
    for problem in (port_closed("iabc", 80), sandbox_not_found("iabc"), still_transitioning("iabc"), too_many_connections("iabc", 7)):
        assert b'<a href="">' in problem.page(_BROWSER).body
    for problem in (control_route("/init"), traffic_token_invalid("iabc"), resume_denied("iabc")):
        assert b"<a " not in problem.page(_BROWSER).body
    assert b"http-equiv" not in port_closed("iabc", 80).page(_BROWSER).body


def test_pages_suit_a_phone_and_the_dark() -> None:
    body = port_closed("iabc", 80).page(_BROWSER).body
    assert b'name="viewport"' in body
    assert b"prefers-color-scheme:dark" in body
    assert b"src=" not in body  # nothing else is loaded from anywhere


@pytest.mark.parametrize(
    "target", [b"/init", b"//init", b"/./init", b"/a/../init", b"/init/", b"/%69nit", b"/init?x=/y", b"/..//init", b"/FSTHAW/../fsthaw"]
)
def test_control_routes(target: bytes) -> None:
    assert is_control_route(target)


@pytest.mark.parametrize("target", [b"/", b"*", b"/initial", b"/init/x", b"/INIT", b"/files?path=/init", b"/%2569nit"])
def test_other_routes(target: bytes) -> None:
    assert not is_control_route(target)


def test_clean_path() -> None:
    assert [clean_path(target) for target in (b"//a/b/../c//?d", b"", b"///")] == ["/a/c", "/", "/"]


def test_query_parameters_that_parsers_disagree_on_are_dropped() -> None:
    assert clean_query(b"/a?b=1&c;d=2&e=%zz&f=%20") == b"/a?b=1&f=%20"
    assert clean_query(b"/a?;") == b"/a"
    assert clean_query(b"/a%zz;b") == b"/a%zz;b"


def test_a_head_without_anything_to_change_is_the_same_bytes() -> None:
    block = b"GET /a HTTP/1.1\r\nHost: a\r\nX-Y:  z "
    assert rewrite_request(parse_request_head(block), host=None, forwarded_host=None, keep_alive=True) == block + b"\r\n\r\n"


def test_the_host_is_replaced_and_versions_are_lifted() -> None:
    head = parse_request_head(b"GET /a HTTP/1.0\r\nAccept: x\r\nHost: a")
    assert (
        rewrite_request(head, host=b"b", forwarded_host=b"a", keep_alive=False)
        == b"GET /a HTTP/1.1\r\nHost: b\r\nAccept: x\r\nX-Forwarded-Host: a\r\nConnection: close\r\n\r\n"
    )


def test_a_response_keeps_one_framing() -> None:
    head = parse_response_head(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nKeep-Alive: x\r\nConnection: x-a\r\nX-A: 1"
    )
    assert rewrite_response(head, connection=None) == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert rewrite_response(head, connection=b"close", drop_framing=True) == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
