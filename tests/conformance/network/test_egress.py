"""Every network option of the Python SDK, looked at from inside (rest-api §10, sdk-latest §1.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from e2b import ALL_TRAFFIC, AsyncSandbox, InvalidArgumentException, NotFoundException, Sandbox, SandboxException
from e2b.sandbox.sandbox_api import SandboxEgressProxyOpts

from tests.conformance.python.conftest import SandboxMaker, make_sandbox  # noqa: F401
from tests.integration.network.internet import Internet
from tests.integration.network.origin import OTHER_SITE, PASSWORD, PLAIN_PORT, SITE, SOCKS, SOCKS_PORT, USER
from tests.product.instance import Instance, wait_until
from tests.product.processes import kill_hard, service_pid

PROGRAM = Path(__file__).parent / "inside.py"
PROXY: SandboxEgressProxyOpts = {"address": f"{SOCKS}:{SOCKS_PORT}", "username": USER.decode(), "password": PASSWORD.decode()}


class Inside:
    """What programs in a sandbox see."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        sandbox.files.write("/home/user/inside.py", PROGRAM.read_text())

    def __call__(self, kind: str, address: str, what: object = "") -> str:
        return self._sandbox.commands.run(f"python3 inside.py {kind} {address} '{what}'").stdout

    def reaches(self, address: str, port: int = PLAIN_PORT) -> bool:
        return self("tcp", address, port).startswith(f"hello from {address}")


def network_of(sandbox: Sandbox) -> dict[str, Any]:
    return dict(sandbox.get_info().network or {})


def test_without_options_everything_public_is_reached(make_sandbox: SandboxMaker, internet: Internet) -> None:  # noqa: F811
    """§10.2.5"""
    sandbox = make_sandbox()
    inside = Inside(sandbox)
    assert inside.reaches(SITE)
    assert inside.reaches(SITE, 22)
    assert inside("udp", SITE, 443) == "ping\n"


def test_internet_access_may_be_denied_and_addresses_excepted(make_sandbox: SandboxMaker, internet: Internet) -> None:  # noqa: F811
    """§10.2.2: allow beats deny, also `allow_internet_access`."""
    sandbox = make_sandbox(allow_internet_access=False, network={"allow_out": [SITE]})
    inside = Inside(sandbox)
    assert inside.reaches(SITE)
    assert not inside.reaches(OTHER_SITE)
    info = sandbox.get_info()
    assert (info.allow_internet_access, network_of(sandbox)["allow_out"]) == (False, [SITE])


def test_networks_are_denied_and_private_ones_stay_so(make_sandbox: SandboxMaker, internet: Internet) -> None:  # noqa: F811
    """§10.2.1, §10.2.6: duplicates are fine."""
    sandbox = make_sandbox(network={"deny_out": [f"{SITE}/32", f"{SITE}/32"], "allow_out": ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16"]})
    inside = Inside(sandbox)
    assert not inside.reaches(SITE)
    assert inside.reaches(OTHER_SITE)
    assert inside("tcp", "169.254.169.254", 80).startswith("failed")


def test_names_are_allowed_and_resolved_by_the_proxy(make_sandbox: SandboxMaker, internet: Internet) -> None:  # noqa: F811
    """§10.1, §10.2.4: SNI and Host; through a SOCKS5 proxy that resolves; its password is never shown."""
    network = {"allow_out": ["site.test", "*.wild.test"], "deny_out": [ALL_TRAFFIC], "egress_proxy": PROXY}
    sandbox = make_sandbox(network=network)
    inside = Inside(sandbox)
    for name in ("site.test", "a.wild.test"):
        assert f'"host": "{name}"' in inside("http", OTHER_SITE, name)
        assert f'"name": "{name}"' in inside("tls", OTHER_SITE, name)
    for name in ("www.site.test", "wild.test", "", OTHER_SITE):
        assert inside("http", OTHER_SITE, name).startswith(("failed", "closed")), name
        assert inside("tls", OTHER_SITE, name).startswith(("failed", "closed")), name
    assert not inside.reaches(OTHER_SITE)
    assert {"site.test:80", "site.test:443", "a.wild.test:80", "a.wild.test:443"} <= set(internet.proxied())
    shown = network_of(sandbox)
    assert shown["egress_proxy"] == {"address": PROXY["address"], "username": PROXY["username"]}
    assert shown["allow_out"] == ["site.test", "*.wild.test"]


def test_updates_replace_everything_and_are_seen(make_sandbox: SandboxMaker, internet: Internet) -> None:  # noqa: F811
    """§10.3"""
    sandbox = make_sandbox(network={"deny_out": [f"{SITE}/32"], "https_ports": [8443]})
    inside = Inside(sandbox)
    assert not inside.reaches(SITE)
    sandbox.update_network({"deny_out": [ALL_TRAFFIC], "allow_out": [SITE]})
    assert (inside.reaches(SITE), inside.reaches(OTHER_SITE)) == (True, False)
    assert network_of(sandbox) == {"https_ports": [8443], "deny_out": [ALL_TRAFFIC], "allow_out": [SITE]}
    sandbox.update_network({"egress_proxy": PROXY})
    before = len(internet.proxied())
    assert inside.reaches(OTHER_SITE)
    assert internet.proxied()[before:] == [f"{OTHER_SITE}:{PLAIN_PORT}"]
    Sandbox.update_network(sandbox.sandbox_id, {"allow_internet_access": False})
    assert not inside.reaches(OTHER_SITE)
    assert sandbox.get_info().allow_internet_access is False
    for open_again in ({"allow_internet_access": True}, {}):
        sandbox.update_network({"deny_out": [ALL_TRAFFIC]})
        sandbox.update_network(open_again)  # type: ignore[arg-type]
        assert inside.reaches(SITE)
    assert network_of(sandbox) == {"https_ports": [8443]}


def test_name_servers_other_than_the_usual_one(make_sandbox: SandboxMaker, internet: Internet) -> None:  # noqa: F811
    """sdk-latest §1.6 `dnsServers`: in place of 8.8.8.8 where names are allowed; none when empty; the usual one when left out."""
    allowed = {"allow_out": ["site.test"], "deny_out": [ALL_TRAFFIC]}
    sandbox = make_sandbox(network={**allowed, "dns_servers": [SITE]})
    inside = Inside(sandbox)
    assert inside("udp", SITE, 53) == "ping\n"
    assert network_of(sandbox)["dns_servers"] == [SITE]
    for update in ({**allowed, "dns_servers": []}, allowed):
        sandbox.update_network(update)  # type: ignore[arg-type]
        assert inside("udp", SITE, 53).startswith("failed")


def test_updates_outlive_the_service(make_sandbox: SandboxMaker, internet: Internet, server: Instance) -> None:  # noqa: F811
    """§10.3: what is acknowledged survives `kill -9`, in force and shown; in between nobody gets around it."""
    sandbox = make_sandbox()
    sandbox.update_network({"deny_out": [ALL_TRAFFIC], "allow_out": [SITE], "egress_proxy": PROXY})
    shown = network_of(sandbox)
    inside = Inside(sandbox)
    kill_hard(service_pid(server))
    server.up()
    wait_until(lambda: network_of(sandbox) == shown, "the restarted API shows the options")
    before = len(internet.proxied())
    assert (inside.reaches(SITE), inside.reaches(OTHER_SITE)) == (True, False)
    assert internet.proxied()[before:] == [f"{SITE}:{PLAIN_PORT}"]


def test_what_is_wrong_is_refused_as_the_sdk_expects(make_sandbox: SandboxMaker, server: Instance) -> None:  # noqa: F811
    """§10.1, §10.3: 400s, 404, and 401 before anything is told."""
    for network, words in (
        ({"allow_out": ["example.com"]}, "ALL_TRAFFIC"),
        ({"deny_out": ["example.com"]}, "invalid denied CIDR example.com"),
        ({"egress_proxy": {"address": "127.0.0.1:1080"}}, "Invalid egress proxy config: "),
        ({"egress_proxy": {"address": "localhost:1080"}}, "Invalid egress proxy config: address must not resolve to an internal IP"),
    ):
        with pytest.raises((SandboxException, InvalidArgumentException), match=words):
            Sandbox.create(network=network, timeout=30)  # type: ignore[arg-type]
    with pytest.raises(NotFoundException):
        Sandbox.update_network("iabsent", {"deny_out": [ALL_TRAFFIC]})
    stranger = httpx.put(f"{server.api_url}/sandboxes/no%20id!/network", json={"denyOut": 1}, headers={"X-API-Key": "e2b_00"})
    assert stranger.status_code == 401
    sandbox = make_sandbox()
    with pytest.raises((SandboxException, InvalidArgumentException), match="invalid denied CIDR x"):
        sandbox.update_network({"deny_out": ["x"]})


async def test_the_asynchronous_client(internet: Internet, server: Instance) -> None:
    """§10.3"""
    sandbox = await AsyncSandbox.create(network={"deny_out": [ALL_TRAFFIC]}, timeout=60)
    try:
        await sandbox.files.write("/home/user/inside.py", PROGRAM.read_text())
        command = f"python3 inside.py tcp {SITE} {PLAIN_PORT}"
        assert (await sandbox.commands.run(command)).stdout.startswith("failed")
        await sandbox.update_network({})
        assert (await sandbox.commands.run(command)).stdout.startswith("hello")
    finally:
        await sandbox.kill()
