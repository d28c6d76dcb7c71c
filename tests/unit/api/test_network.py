"""Network options: what is granted, what is refused and in which words, what a node is told (rest-api §10, sdk-latest §1.6)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.egress import EgressWish, ProxyWish, parse_egress
from sandbank.api.core.network_options import NetworkFeatures
from sandbank.domain.errors import ConflictError, DeniedError, InvalidError, NotFoundError, UnavailableError
from sandbank.domain.states import SandboxState
from tests.unit.api.fakes import Core
from tests.unit.api.made import TEAM, sandbox

ALL = "0.0.0.0/0"
DOMAINS_NEED_DENY = "When specifying allowed domains in allow out, you must include 'ALL_TRAFFIC' in deny out to block all other traffic."


async def wish(core: Core, network: dict[str, Any] | None, **more: Any) -> EgressWish:
    made = await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True, network=network, **more))
    return core.nodes.wishes[made.sandbox_id]


async def refusal(core: Core, network: dict[str, Any]) -> str:
    with pytest.raises(InvalidError) as caught:
        await wish(core, network)
    return caught.value.message


@pytest.mark.parametrize(
    ("network", "allow_internet_access", "cidrs", "denied", "domains"),
    [
        (None, None, (), (), ()),
        (None, True, (), (), ()),
        (None, False, (), (ALL,), ()),
        ({"allowOut": ["1.1.1.1", "8.8.8.0/24"]}, None, ("1.1.1.1/32", "8.8.8.0/24"), (), ()),
        ({"allowOut": ["1.1.1.1"], "denyOut": [ALL, ALL]}, False, ("1.1.1.1/32",), (ALL,), ()),
        ({"denyOut": ["8.8.8.8", "2001:db8::1", "10.1.2.3/8"]}, None, (), ("8.8.8.8/32", "2001:db8::1/128", "10.0.0.0/8"), ()),
        ({"allowOut": ["Example.com", "*.B.test."], "denyOut": [ALL]}, None, ("8.8.8.8/32",), (ALL,), ("example.com", "*.b.test")),
        ({"allowOut": ["*"], "denyOut": [ALL]}, None, ("8.8.8.8/32",), (ALL,), ("*",)),
        ({"allowOut": ["bücher.example"], "denyOut": [ALL]}, None, ("8.8.8.8/32",), (ALL,), ("xn--bcher-kva.example",)),
        ({"allowOut": ["a.test"], "denyOut": [ALL], "dnsServers": ["1.1.1.1"]}, None, ("1.1.1.1/32",), (ALL,), ("a.test",)),
        ({"allowOut": ["a.test"], "denyOut": [ALL], "dnsServers": []}, None, (), (ALL,), ("a.test",)),
        ({"allowOut": ["1.1.1.1"], "denyOut": [ALL], "dnsServers": ["9.9.9.9"]}, None, ("1.1.1.1/32",), (ALL,), ()),
    ],
)
async def test_what_a_node_is_told(
    core: Core, network: dict[str, Any] | None, allow_internet_access: bool | None, cidrs: Any, denied: Any, domains: Any
) -> None:
    told = await wish(core, network, allow_internet_access=allow_internet_access)
    assert (told.allowed_cidrs, told.denied_cidrs, told.allowed_domains) == (cidrs, denied, domains)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"denyOut": ["example.com"]}, "invalid denied CIDR example.com"),
        ({"denyOut": ["1.1.1.1/33"]}, "invalid denied CIDR 1.1.1.1/33"),
        ({"denyOut": ["0.0.0.0"]}, "invalid denied CIDR 0.0.0.0"),
        ({"denyOut": [""]}, "invalid denied CIDR "),
        ({"allowOut": ["example.com"]}, DOMAINS_NEED_DENY),
        ({"allowOut": ["example.com"], "denyOut": ["1.1.1.1"]}, DOMAINS_NEED_DENY),
        ({"allowOut": ["0.0.0.0"]}, "invalid allowed address or domain 0.0.0.0"),
        ({"allowOut": ["no domain!"], "denyOut": [ALL]}, "invalid allowed address or domain no domain!"),
        ({"allowOut": ["a.*.test"], "denyOut": [ALL]}, "invalid allowed address or domain a.*.test"),
        ({"allowOut": ["**"], "denyOut": [ALL]}, "invalid allowed address or domain **"),
        ({"allowOut": ["1.1.1.300"], "denyOut": [ALL]}, "invalid allowed address or domain 1.1.1.300"),
        ({"allowOut": ["é" * 300], "denyOut": [ALL]}, "invalid allowed address or domain " + "é" * 300),
        ({"dnsServers": ["one.one"]}, "invalid DNS server one.one: must be an IPv4 address"),
        ({"dnsServers": ["::1"]}, "invalid DNS server ::1: must be an IPv4 address"),
        ({"dnsServers": ["1.1.1.1"] * 11}, "dnsServers can have at most 10 addresses"),
        ({"denyOut": ["1.1.1.1"] * 10_000}, "network has"),
    ],
)
async def test_what_is_wrong_is_said(core: Core, network: dict[str, Any], message: str) -> None:
    found = await refusal(core, network)
    assert found == message or (message == "network has" and found.startswith(message))
    assert core.nodes.calls == []


texts = st.text(max_size=80) | st.from_regex(r"[a-zé*.:/\[\]%0-9_-]{1,40}", fullmatch=True)


@given(
    st.lists(texts),
    st.lists(texts),
    st.lists(texts),
    texts,
    st.dictionaries(texts, st.lists(st.just({"transform": {"headers": {"a": "b"}}}))),
)
def test_no_words_are_too_odd(allow: list[str], deny: list[str], servers: list[str], address: str, rules: dict[str, Any]) -> None:
    for sent in (
        {"allowOut": allow, "denyOut": [*deny, ALL]},
        {"dnsServers": servers},
        {"egressProxy": {"address": address}},
        {"rules": rules},
    ):
        with contextlib.suppress(InvalidError):
            parse_egress(sent, None, envd_version="0.6.13", rules_enabled=True)


PROXY = {"address": "198.51.100.9:1080", "username": "me", "password": "very secret"}


async def test_a_proxy_is_told_to_the_node_and_its_password_to_nobody_else(core: Core) -> None:
    tls = {"enabled": True, "serverName": "proxy.test", "caCert": "-----BEGIN CERTIFICATE-----"}
    told = await wish(core, {"egressProxy": {**PROXY, "tls": tls}})
    assert told.proxy == ProxyWish("198.51.100.9:1080", "me", "very secret", ("proxy.test", "-----BEGIN CERTIFICATE-----"))
    (made,) = await core.store.list_team(TEAM.team_id)
    assert made.network == {
        "egressProxy": {"address": "198.51.100.9:1080", "username": "me", "tls": {"enabled": True, "serverName": "proxy.test"}}
    }
    for shown in (repr(told), repr(made)):
        assert "very secret" not in shown
        assert "CERTIFICATE" not in shown


async def test_the_name_of_a_proxy_is_looked_up(core: Core) -> None:
    core.addresses["proxy.test"] = ["198.51.100.9"]
    core.addresses["inside.test"] = ["198.51.100.9", "10.0.0.1"]
    core.addresses["mapped.test"] = ["::ffff:127.0.0.1"]
    told = await wish(core, {"egressProxy": {"address": "Proxy.test.:1080"}})
    assert told.proxy == ProxyWish("proxy.test:1080")
    for name in ("inside.test", "mapped.test"):
        message = await refusal(core, {"egressProxy": {"address": f"{name}:1"}})
        assert message == "Invalid egress proxy config: address must not resolve to an internal IP"
    assert await refusal(core, {"egressProxy": {"address": "gone.test:1"}}) == "Invalid egress proxy config: address cannot be resolved"


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ({"address": "proxy.test"}, "address must be host:port"),
        ({"address": ""}, "address must be host:port"),
        ({"address": ":1080"}, "address must be host:port"),
        ({"address": "proxy.test:0"}, "address must be host:port"),
        ({"address": "proxy.test:65536"}, "address must be host:port"),
        ({"address": f"proxy.test:{'9' * 5000}"}, "address must be host:port"),
        ({"address": "proxy.test:١"}, "address must be host:port"),
        ({"address": "socks5://proxy.test:1080"}, "address must be host:port"),
        ({"address": "me:pw@proxy.test:1080"}, "address must be host:port"),
        ({"address": "127.0.0.1:1080"}, "address must not be internal"),
        ({"address": "[::1]:1080"}, "address must not be internal"),
        ({"address": "169.254.169.254:80"}, "address must not be internal"),
        ({"address": "[2001:db8::1]:1080"}, "address must be an IPv4 address or a name"),
        ({**PROXY, "username": "é" * 128}, "username must be at most 255 bytes"),
        ({**PROXY, "password": "x" * 256}, "password must be at most 255 bytes"),
        ({"address": "198.51.100.9:1", "password": "x"}, "password requires username"),
        ({**PROXY, "tls": {"enabled": True, "serverName": "x" * 254}}, "tls.serverName must be at most 253 characters"),
        ({**PROXY, "tls": {"enabled": True, "caCert": "x"}}, "tls.caCert must be a PEM certificate of at most 8192 bytes"),
    ],
)
async def test_proxies_of_the_wrong_kind(core: Core, proxy: dict[str, Any], reason: str) -> None:
    assert await refusal(core, {"egressProxy": proxy}) == f"Invalid egress proxy config: {reason}"


async def test_what_is_switched_off_is_denied_after_validation_and_before_ingress(core: Core) -> None:
    core.network._features = NetworkFeatures(egress_proxy=False, rules=False)
    request = CreateSandbox("base", 300, secure=False, network={"egressProxy": PROXY, "allowPublicTraffic": False})
    with pytest.raises(DeniedError) as denied:
        await core.creator.create(TEAM, request)
    assert denied.value.message == "Egress proxy (network.egressProxy) is not enabled for this team."
    assert await refusal(core, {"egressProxy": PROXY, "denyOut": ["x"]}) == "invalid denied CIDR x"
    assert await refusal(core, {"rules": {"a.test": []}}) == "Network transform rules are not available for your team."
    await core.store.add(sandbox())
    with pytest.raises(DeniedError) as denied:
        await core.updater.update(TEAM, "i1", {"egressProxy": PROXY}, None)
    assert denied.value.message == "Egress proxy (egressProxy) is not enabled for this team."


def rule(**headers: str) -> list[dict[str, Any]]:
    return [{"transform": {"headers": headers}}]


async def test_rules_are_handed_on_and_echoed(core: Core) -> None:
    value = "Bearer ${e2b.secrets.KEY} ${e2b.identity.tokens.aws}"
    rules = {"API.test": rule(Authorization=value), "*.b.test": [{}], "c.test": []}
    told = await wish(core, {"rules": rules})
    assert told.rules == {"api.test": {"Authorization": value}}
    assert told.echo == {"rules": rules}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({f"d{n}.test": [] for n in range(11)}, "Network rules can have at most 10 domains."),
        ({"": []}, "Rule domain must not be empty."),
        ({"d" * 129: []}, f'Rule domain "{"d" * 129}" exceeds maximum length of 128 characters.'),
        ({"a b": []}, 'Rule domain "a b" is not a valid domain name.'),
        ({"*": []}, 'Rule domain "*" is not a valid domain name.'),
        ({"d.test": [{}, {}]}, 'Domain "d.test" can have at most 1 transform rule.'),
        ({"d.test": [{}], "D.test": [{}]}, 'Domain "D.test" can have at most 1 transform rule.'),
        ({"d.test": rule(**{f"h{n}": "" for n in range(21)})}, 'Domain "d.test" can have at most 20 headers per rule.'),
        ({"d.test": rule(**{"a b": ""})}, 'Header name "a b" in rule for domain "d.test" must contain only valid HTTP token characters.'),
        ({"d.test": rule(**{"": ""})}, 'Header name "" in rule for domain "d.test" must contain only valid HTTP token characters.'),
        ({"d.test": rule(h="a\r\nb")}, 'Value for header "h" in rule for domain "d.test" contains invalid characters.'),
        ({"d.test": rule(h="${e2b.secrets.}")}, "Network transform header contains a malformed E2B placeholder."),
        ({"d.test": rule(h="${e2b.secret.A}")}, "Network transform header contains a malformed E2B placeholder."),
        ({"d.test": rule(Host="x")}, 'Header "Host" in rule for domain "d.test" belongs to the connection and cannot be set.'),
        ({"d.test": rule(h="${e2b.secrets.A")}, "Network transform header contains a malformed E2B placeholder."),
        (
            {"d.test": rule(h="".join(f"${{e2b.secrets.s{n}}}" for n in range(33)))},
            'Rule domain "d.test" references more than 32 secrets.',
        ),
    ],
)
async def test_rules_of_the_wrong_kind(core: Core, rules: dict[str, Any], message: str) -> None:
    assert await refusal(core, {"rules": rules}) == message


async def test_rules_have_bounds_of_length(core: Core) -> None:
    assert "exceeds maximum length of 64" in await refusal(core, {"rules": {"d.test": rule(**{"h" * 65: ""})}})
    assert "exceeds maximum length of 2048" in await refusal(core, {"rules": {"d.test": rule(h="x" * 2049)}})


async def running(core: Core, **changes: Any) -> None:
    made = sandbox(**changes)
    await core.store.add(made)
    core.nodes.running["i1"] = made


async def test_an_update_replaces_all_of_egress_and_nothing_of_ingress(core: Core) -> None:
    before = {"allowPublicTraffic": False, "maskRequestHost": "x", "httpsPorts": [8443], "allowOut": ["1.1.1.1"], "dnsServers": []}
    await running(core, network=before, allow_internet_access=True, traffic_access_token="token")
    await core.updater.update(TEAM, "i1", {"denyOut": [ALL], "egressProxy": PROXY}, False)
    record = await core.store.find("i1")
    assert record is not None
    kept = {"allowPublicTraffic": False, "maskRequestHost": "x", "httpsPorts": [8443]}
    assert record.network == {**kept, "denyOut": [ALL], "egressProxy": {"address": "198.51.100.9:1080", "username": "me"}}
    assert (record.allow_internet_access, record.traffic_access_token) == (False, "token")
    assert core.nodes.running["i1"] == record, "the node remembers what is echoed"

    await core.updater.update(TEAM, "i1", {}, None)
    record = await core.store.find("i1")
    assert record is not None
    assert (record.network, record.allow_internet_access) == (kept, False), "omitted leaves the stored value, and allows all the same"
    told = core.nodes.wishes["i1"]
    assert (told.allowed_cidrs, told.denied_cidrs, told.proxy) == ((), (), None)


async def test_an_update_that_fails_changes_nothing(core: Core) -> None:
    await running(core)
    before = await core.store.find("i1")
    core.nodes.failures["n1"] = [UnavailableError("full")]
    with pytest.raises(UnavailableError):
        await core.updater.update(TEAM, "i1", {"denyOut": [ALL]}, None)
    with pytest.raises(InvalidError, match="invalid denied CIDR"):
        await core.updater.update(TEAM, "i1", {"denyOut": ["x"]}, None)
    assert await core.store.find("i1") == before


async def test_updates_of_what_is_gone_foreign_or_ending(core: Core) -> None:
    with pytest.raises(NotFoundError, match="doesn't exist"):
        await core.updater.update(TEAM, "i1", {}, None)
    await running(core, team_id="t2")
    with pytest.raises(NotFoundError, match="doesn't exist"):
        await core.updater.update(TEAM, "i1", {}, None)
    await running(core)
    del core.nodes.running["i1"]
    with pytest.raises(NotFoundError, match="doesn't exist"):
        await core.updater.update(TEAM, "i1", {}, None)
    transition = await core.store.begin("i1", SandboxState.KILLING)
    assert transition is not None
    with pytest.raises(ConflictError):
        await core.updater.update(TEAM, "i1", {}, None)
