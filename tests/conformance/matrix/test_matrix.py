"""Every pinned release does all that it has, apart from what the product refuses (contract sdk-latest §0: several generations at once)."""

from __future__ import annotations

import pytest

from tests.conformance.matrix.page import PAGE, render
from tests.conformance.matrix.releases import RELEASES, Release
from tests.conformance.matrix.runs import NOT_YET, Outcomes, run_all
from tests.product.instance import Instance

Results = dict[Release, Outcomes | Exception]


@pytest.fixture(scope="module")
def results(server: Instance) -> Results:
    """What each release could do."""
    return run_all(server)


def test_six_releases_of_each_sdk_are_pinned() -> None:
    for client in ("python", "javascript"):
        assert len([release for release in RELEASES if release.client == client]) >= 6


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_release_works_unmodified(results: Results, release: Release) -> None:
    outcomes = results[release]
    if isinstance(outcomes, Exception):
        raise outcomes
    assert len(outcomes) >= 5
    failed = {name: text for name, text in outcomes.items() if text not in ("passed", "absent") and NOT_YET.get(name, "\0") not in text}
    assert not failed, "\n".join(f"{name}: {text}" for name, text in failed.items())


def test_the_page_says_what_was_seen(results: Results) -> None:
    assert PAGE.read_text() == render(results), "write it again: make compatibility"
