"""Whichever variables a client was given, it finds API and sandbox (contract sdk-latest §2.1, data-plane §6.1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.domain.clients import CLIENTS, Address, run, see
from tests.product.instance import Instance

Variables = Callable[[Instance, Address], dict[str, str]]

BY_NAME: dict[str, Variables] = {
    "E2B_DOMAIN alone": lambda server, at: {"E2B_DOMAIN": at.domain},
    "E2B_API_URL alone": lambda server, at: {"E2B_API_URL": server.api_url},
    "E2B_API_URL by name": lambda server, at: {"E2B_API_URL": f"https://api.{at.domain}"},
    "E2B_API_URL by name in cleartext": lambda server, at: {"E2B_API_URL": f"http://api.{at.domain}"},
    "E2B_API_URL and E2B_DOMAIN": lambda server, at: {"E2B_API_URL": server.api_url, "E2B_DOMAIN": at.domain},
    "E2B_API_URL and a domain of somebody else": lambda server, at: {"E2B_API_URL": server.api_url, "E2B_DOMAIN": "sandboxes.invalid"},
}
"""Sandboxes are found by host name, over TLS."""
BY_URL: dict[str, Variables] = {
    "both URLs": lambda server, at: {"E2B_API_URL": server.api_url, "E2B_SANDBOX_URL": server.sandbox_url},
    "all three": lambda server, at: {"E2B_API_URL": server.api_url, "E2B_SANDBOX_URL": server.sandbox_url, "E2B_DOMAIN": at.domain},
    "E2B_SANDBOX_URL and E2B_DOMAIN": lambda server, at: {"E2B_SANDBOX_URL": server.sandbox_url, "E2B_DOMAIN": at.domain},
    "sandboxes at localhost over TLS": lambda server, at: {
        "E2B_API_URL": server.api_url,
        "E2B_SANDBOX_URL": f"https://localhost:{server.proxy_address[1]}",
    },
    "sandboxes at an address over TLS": lambda server, at: {
        "E2B_API_URL": server.api_url,
        "E2B_SANDBOX_URL": f"https://127.0.0.1:{server.proxy_address[1]}",
    },
    "sandboxes at the shared host": lambda server, at: {"E2B_DOMAIN": at.domain, "E2B_SANDBOX_URL": f"https://sandbox.{at.domain}"},
}
"""Sandboxes are found by headers (contract sdk-latest §2.3)."""


def assert_complete(seen: dict[str, object], at: Address) -> None:
    assert seen == {
        "domain": at.domain,
        "host": f"8000-ID.{at.domain}",
        "output": "42\n",
        "intact": True,
        "connected": True,
        "signed": "signed",
        "listed": True,
        "killed": True,
    }


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", BY_NAME)
def test_sandboxes_are_found_by_name(server: Instance, address: Address, client: str, case: str) -> None:
    assert_complete(see(client, {**BY_NAME[case](server, address), **address.trust()}, "--by-name"), address)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", BY_URL)
def test_sandboxes_are_found_by_headers(server: Instance, address: Address, client: str, case: str) -> None:
    assert_complete(see(client, {**BY_URL[case](server, address), **address.trust()}), address)


@pytest.mark.parametrize("client", CLIENTS)
def test_urls_need_no_trust(server: Instance, address: Address, client: str) -> None:
    assert_complete(see(client, BY_URL["both URLs"](server, address)), address)


@pytest.mark.parametrize("client", ["python", "python async"])
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_either_version_of_http_works_by_name(server: Instance, address: Address, client: str, version: str) -> None:
    """Contract sdk-latest §1.1: `E2B_HTTP_VERSION`."""
    variables = {"E2B_DOMAIN": address.domain, "E2B_HTTP_VERSION": version, **address.trust()}
    assert_complete(see(client, variables, "--by-name"), address)


def test_a_client_with_only_an_api_url_and_no_trust_stays_here(server: Instance, address: Address) -> None:
    """The answer's `domain` keeps traffic and tokens of such a client from the public service: it meets us, and does not trust us."""
    done = run("python", {"E2B_API_URL": server.api_url})
    assert done.returncode != 0
    assert f".{address.domain}/" in done.stderr
    assert "UnknownIssuer" in done.stderr
    assert "e2b.app" not in done.stderr
