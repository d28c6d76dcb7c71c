"""Which headers a request gets, and which requests get none (rest-api contract §10.1 `rules`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from sandbank.domain.errors import DeniedError
from sandbank.runtime.network.egress.requests import parse_head
from sandbank.runtime.network.interception.rewriting import RefusedError, Rewriter, headers_for

SECRETS = {"secrets.key": "s3cr3t", "secrets.broken": "a\r\nX-Evil: 1", "secrets.umlaut": "schlüssel", "identity.tokens.aws": "a.b.c"}


class Source:
    async def values(self, sandbox_id: str, references: Sequence[str]) -> Mapping[str, str]:
        if sandbox_id != "i1":
            raise DeniedError("no")
        return {name: SECRETS[name] for name in references if name in SECRETS}


def rewriter(headers: Mapping[str, str], *, sandbox_id: str = "i1", is_secure: bool = True) -> Rewriter:
    return Rewriter(sandbox_id, "api.test", headers, Source(), is_secure=is_secure)


def request(*lines: str, method: str = "GET", host: str = "api.test") -> bytes:
    return "\r\n".join([f"{method} /path?x=1 HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


async def rewritten(headers: Mapping[str, str], *lines: str) -> list[str]:
    raw = await rewriter(headers).rewrite(parse_head(request(*lines)))
    assert raw.endswith(b"\r\n\r\n")
    parse_head(raw)
    return raw.decode().split("\r\n")[:-2]


async def test_headers_are_added_and_all_of_the_clients_by_that_name_replaced() -> None:
    rule = {"Authorization": "Bearer ${e2b.secrets.key}", "X-Plain": "yes"}
    lines = await rewritten(rule, "authorization: mine", "Accept: */*", "AUTHORIZATION: mine too", "x-plain-not: stays")
    assert lines == [
        "GET /path?x=1 HTTP/1.1",
        "Host: api.test",
        "Accept: */*",
        "x-plain-not: stays",
        "Authorization: Bearer s3cr3t",
        "X-Plain: yes",
    ]
    assert (await rewritten({"X": "${e2b.secrets.umlaut}é"}))[-1] == "X: schlüsselé"
    assert (await rewritten({"X": "Bearer ${e2b.identity.tokens.aws}"}))[-1] == "X: Bearer a.b.c"


@pytest.mark.parametrize(
    ("headers", "raw", "status"),
    [
        ({"X": "y"}, request(host="other.test"), 421),
        ({"X": "y"}, request(host="1.2.3.4"), 421),
        ({"X": "${e2b.secrets.key}"}, request(method="TRACE"), 405),
        ({"X": "${e2b.secrets.absent}"}, request(), 502),
        ({"X": "${e2b.secrets.broken}"}, request(), 502),
        ({"X": "${e2b.identity.tokens.gcp}"}, request(), 502),
        ({"X": "${e2b.identity.tokens.aws}"}, request(method="TRACE"), 405),
    ],
)
async def test_what_is_refused_is_told_without_a_value(headers: dict[str, str], raw: bytes, status: int) -> None:
    with pytest.raises(RefusedError) as raised:
        await rewriter(headers).rewrite(parse_head(raw))
    assert raised.value.status == status
    assert not any(value in raised.value.reason for value in SECRETS.values())


async def test_secrets_go_over_tls_only_and_other_headers_anyhow() -> None:
    plain = parse_head(request())
    with pytest.raises(RefusedError) as raised:
        await rewriter({"X": "${e2b.secrets.key}"}, is_secure=False).rewrite(plain)
    assert raised.value.status == 403
    assert b"X: y\r\n" in await rewriter({"X": "y"}, is_secure=False).rewrite(plain)


async def test_nobody_to_ask() -> None:
    with pytest.raises(RefusedError) as raised:
        await rewriter({"X": "${e2b.secrets.key}"}, sandbox_id="i2").rewrite(parse_head(request()))
    assert raised.value.status == 502


def test_a_names_own_rule_goes_before_the_nearest_wildcard() -> None:
    rules = {"a.test": {"n": "1"}, "*.a.test": {"n": "2"}, "*.b.a.test": {"n": "3"}}
    found = {
        name: (headers_for(name, rules) or {}).get("n") for name in ("a.test", "x.a.test", "x.b.a.test", "y.x.b.a.test", "b.test", "test")
    }
    assert found == {"a.test": "1", "x.a.test": "2", "x.b.a.test": "3", "y.x.b.a.test": "3", "b.test": None, "test": None}
