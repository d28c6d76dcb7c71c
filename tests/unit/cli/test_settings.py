"""When an installation counts as exposed, and how it is reached."""

from __future__ import annotations

import pytest

from sandbank.cli.settings import NodeSettings, is_loopback


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.4", "8.8.8.8", "no-such-name.invalid", ""])
def test_not_loopback(address: str) -> None:
    assert not is_loopback(address)


def test_any_service_beyond_loopback_exposes_the_installation() -> None:
    assert not NodeSettings(bind="127.0.0.1").is_exposed
    assert NodeSettings(bind="0.0.0.0").is_exposed
    assert NodeSettings(bind="127.0.0.1", orchestrator_bind="10.0.0.5").is_exposed


def test_urls_are_ones_that_can_be_connected_to() -> None:
    assert NodeSettings(bind="127.0.0.1", api_port=3000).api_url == "http://localhost:3000"
    assert NodeSettings(bind="0.0.0.0", api_port=3000).api_url == "http://127.0.0.1:3000"
    assert NodeSettings(bind="::", client_proxy_port=3002).sandbox_url == "http://[::1]:3002"
    assert NodeSettings(orchestrator_bind="::1", orchestrator_port=5).orchestrator_address == "[::1]:5"
