"""`api.<domain>` on the port of sandbox traffic (contract sdk-latest §2.1)."""

from __future__ import annotations

import json

import pytest

from sandbank.client_proxy.adapters.gateway import Gateway
from sandbank.proxy.head import RequestHead, parse_request_head
from sandbank.proxy.page import Page, plain
from sandbank.proxy.resolver import Decision, Forward
from sandbank.servicekit.public_domain import PublicDomain

BEHIND = plain(200, "behind")


class Behind:
    """Stands for the sandboxes."""

    def __init__(self) -> None:
        self.swept: list[float] = []

    def resolve(self, head: RequestHead) -> Decision:
        return BEHIND

    def unreachable(self, head: RequestHead, forward: Forward) -> Page:
        return BEHIND

    def gone(self, head: RequestHead, forward: Forward) -> Page:
        return BEHIND

    def sweep(self, now: float) -> None:
        self.swept.append(now)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(Behind(), PublicDomain.parse("sandbank.localhost:3002"), "127.0.0.1", 3000)


def request(host: str, *lines: str) -> RequestHead:
    return parse_request_head("\r\n".join(["POST /v2/sandboxes HTTP/1.1", f"Host: {host}", *lines]).encode())


@pytest.mark.parametrize(
    "host", ["api.sandbank.localhost:3002", "api.sandbank.localhost", "API.Sandbank.Localhost:9", "api.sandbank.localhost."]
)
def test_requests_for_the_api_go_there_unchanged(gateway: Gateway, host: str) -> None:
    decision = gateway.resolve(request(host))
    assert isinstance(decision, Forward)
    assert (decision.host, decision.forwarded_host) == (None, None)


@pytest.mark.parametrize(
    "host",
    [
        "49983-iaaaaaaaaaaaaaaaaaaaa.sandbank.localhost:3002",
        "sandbox.sandbank.localhost:3002",
        "sandbank.localhost:3002",
        "api.localhost:3002",
        "api.example.com",
        "api.sandbank.localhost.example.com",
        "x.api.sandbank.localhost",
        "api-1.sandbank.localhost",
        "localhost:3002",
    ],
)
def test_all_other_requests_go_to_the_sandboxes(gateway: Gateway, host: str) -> None:
    assert gateway.resolve(request(host)) is BEHIND


def test_routing_headers_do_not_lead_away_from_the_api(gateway: Gateway) -> None:
    """Contract sdk-latest §2.3: they count on hosts that cannot name a sandbox themselves, and on no other."""
    head = request("api.sandbank.localhost:3002", "E2b-Sandbox-Id: iaaaaaaaaaaaaaaaaaaaa", "E2b-Sandbox-Port: 49983")
    assert isinstance(gateway.resolve(head), Forward)


def test_an_api_that_does_not_answer_is_said_in_the_apis_own_shape(gateway: Gateway) -> None:
    """Contract sdk-latest §1.2, §1.3: JSON with `code` and `message`, and no status after which Python would create a second sandbox."""
    head = request("api.sandbank.localhost:3002")
    forward = gateway.resolve(head)
    assert isinstance(forward, Forward)
    for answer in (gateway.unreachable(head, forward), gateway.gone(head, forward)):
        assert answer.status not in {429, 502, 503, 504}
        body = json.loads(answer.body)
        assert (body["code"], isinstance(body["message"], str)) == (answer.status, True)


def test_each_side_answers_for_its_own_failures() -> None:
    behind = Behind()
    gateway = Gateway(behind, PublicDomain.parse("sandbank.localhost"), "127.0.0.1", 3000)
    head = request("49983-iaaaaaaaaaaaaaaaaaaaa.sandbank.localhost")
    api = gateway.resolve(request("api.sandbank.localhost"))
    assert isinstance(api, Forward)
    sandbox = Forward(api.origin, api.target._replace(sandbox_id="iaaaaaaaaaaaaaaaaaaaa", port=49983))
    assert gateway.unreachable(head, sandbox) is BEHIND
    assert gateway.gone(head, sandbox) is BEHIND
    gateway.sweep(7.0)
    assert behind.swept == [7.0]
