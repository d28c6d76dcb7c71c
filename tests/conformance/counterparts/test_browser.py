"""Debian's Chromium on pages that sandboxes serve, and on the pages of the proxy (contract data-plane §7.3, §7.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2b import Sandbox

from tests.conformance.counterparts.browser import Browser, running
from tests.conformance.domain.clients import Address


@pytest.fixture(scope="module")
def browser(address: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all pages."""
    with running(tmp_path_factory.mktemp("chromium"), address.authority) as started:
        yield started


@pytest.mark.parametrize(("scheme", "protocol"), [("http", "http/1.1"), ("https", "h2")])
def test_a_page_of_a_sandbox_does_all_that_pages_do(browser: Browser, web: Sandbox, scheme: str, protocol: str) -> None:
    for _ in range(3):  # a page is cut off when the machine's interfaces change, and a node makes some for its next sandboxes
        browser.open(f"{scheme}://{web.get_host(8000)}/")
        seen = browser.evaluate("window.seen")
        if "error" not in seen:
            break
    upload = bytes([7]) * 3_000_000
    assert seen == {
        "fetched": "fetched",
        "elsewhere": "put elsewhere with X-Own: yes",
        "uploaded": f"{len(upload)} {hashlib.sha256(upload).hexdigest()}",
        "events": ["event 0", "event 1", "event 2"],
        "apart": True,
        "echo": "through the proxy",
        "protocol": protocol,
    }


def test_a_person_reads_why_nothing_is_served(browser: Browser, web: Sandbox, address: Address) -> None:
    browser.open(f"https://{web.get_host(9999)}/")
    assert browser.evaluate("document.title.includes('Closed Port') && document.title") == "Closed Port Error"
    text = browser.evaluate("document.body.innerText")
    assert "no service running on port 9999" in text
    assert web.sandbox_id in text
    browser.open(f"https://3000-iaaaaaaaaaaaaaaaaaaaa.{address.domain}/")
    assert browser.evaluate("document.title.includes('Not Found') && document.title") == "Sandbox Not Found"


def test_error_pages_fit_a_telephone(browser: Browser, web: Sandbox, tmp_path: Path) -> None:
    browser.open(f"https://{web.get_host(9999)}/")
    browser.evaluate("document.title.includes('Closed Port')")
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth && 'fits'") == "fits"
