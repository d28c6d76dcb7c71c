"""Pages, their negotiation, hidden routes, and what changes in a head."""

from __future__ import annotations

import json

import pytest

from sandbank.proxy.control_routes import clean_path, is_control_route
from sandbank.proxy.head import parse_request_head, parse_response_head
from sandbank.proxy.negotiation import wants_html
from sandbank.proxy.page import Problem, control_route, port_closed, sandbox_not_found, traffic_token_invalid, traffic_token_missing
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
    ],
)
def test_both_faces(problem: Problem, title: str, marks: list[str]) -> None:
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


def test_exact_json() -> None:
    assert json.loads(port_closed("iabc", 80).page({}).body) == {
        "sandboxId": "iabc",
        "message": "The sandbox is running but port is not open",
        "port": 80,
        "code": 502,
    }
    assert list(json.loads(control_route("/init").page({}).body)) == ["message", "path", "code"]


def test_pages_escape_what_clients_say() -> None:
    assert b"<script>" not in control_route("/<script>").page(_BROWSER).body


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
