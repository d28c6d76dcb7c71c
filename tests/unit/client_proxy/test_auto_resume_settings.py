"""§7.2, §7.6: the names that operators know from E2B, and what happens without them."""

from __future__ import annotations

import pytest

from sandbank.api.settings import ApiSettings
from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.proxy.limits import ProxyLimits


def test_the_client_proxy_finds_the_api_by_e2bs_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ClientProxySettings().api_grpc_address is None
    monkeypatch.setenv("API_INTERNAL_GRPC_ADDRESS", "api:5010")
    assert ClientProxySettings().api_grpc_address == "api:5010"


def test_the_internal_port_is_5010_on_loopback_and_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (ApiSettings().internal_bind, ApiSettings().internal_grpc_port) == ("127.0.0.1", 5010)
    monkeypatch.setenv("SANDBANK_INTERNAL_GRPC_PORT", "")
    assert ApiSettings().internal_grpc_port is None
    monkeypatch.setenv("SANDBANK_INTERNAL_GRPC_PORT", "6010")
    assert ApiSettings().internal_grpc_port == 6010


def test_the_connection_limit_can_be_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    default = OrchestratorSettings().sandbox_max_connections
    assert 10_000 < default < ProxyLimits().max_connections  # plenty for one, and never all that there are
    monkeypatch.setenv("SANDBANK_SANDBOX_MAX_CONNECTIONS", "-1")
    assert OrchestratorSettings().sandbox_max_connections == -1
