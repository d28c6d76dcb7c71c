"""What different registries want of us before they answer (Docker's token specification)."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from sandbank.docker_reverse_proxy.adapters.upstream_tokens import RegistryTokens
from sandbank.docker_reverse_proxy.core.registry_url import RegistryUrl
from sandbank.domain.errors import UnavailableError

BEARER = 'Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="x"'
BASIC = "Basic dTpw"


class Registry:
    """Answers as told, and notes who asked with what."""

    def __init__(self, challenge: str | None, token: Callable[[], httpx.Response] | None = None) -> None:
        self._challenge = challenge
        self._token = token
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((str(request.url), request.headers.get("authorization")))
        if request.url.path == "/token":
            assert self._token is not None
            return self._token()
        return httpx.Response(200) if self._challenge is None else httpx.Response(401, headers={"WWW-Authenticate": self._challenge})


def tokens(registry: Registry, user: str = "u", clock: Callable[[], float] = lambda: 0.0) -> RegistryTokens:
    client = httpx.AsyncClient(transport=httpx.MockTransport(registry))
    return RegistryTokens(RegistryUrl.parse("https://registry.example.com/our/images"), user, "p", client=client, clock=clock)


async def test_a_registry_that_asks_nothing_is_told_nothing() -> None:
    """Our credentials do not leave us unasked."""
    registry = Registry(None)
    found = tokens(registry)
    assert await found.prepare("abc") is None
    assert await found.authorization("abc") is None
    assert registry.asked == [("https://registry.example.com/v2/", None)]


async def test_basic_authentication_is_sent_where_it_is_wanted() -> None:
    """And asked for once."""
    registry = Registry('Basic realm="x"')
    found = tokens(registry)
    assert await found.authorization("abc") == await found.authorization("other") == BASIC
    assert len(registry.asked) == 1
    with pytest.raises(UnavailableError):
        await tokens(registry, user="").authorization("abc")


async def test_a_token_is_fetched_for_each_template_and_renewed_before_its_end() -> None:
    """Contract templates-and-data §1.1.2: push,pull of `<prefix>/<templateID>`; `expires_in` is passed on."""
    now = 0.0
    registry = Registry(BEARER, lambda: httpx.Response(200, json={"access_token": f"t{len(registry.asked)}", "expires_in": 300}))
    found = tokens(registry, clock=lambda: now)
    assert await found.prepare("abc") == 300
    assert await found.authorization("abc") == "Bearer t2"
    url, authorization = registry.asked[1]
    assert url == "https://auth.example.com/token?scope=repository%3Aour%2Fimages%2Fabc%3Apush%2Cpull&service=registry.example.com"
    assert authorization == BASIC
    assert await found.authorization("other") == "Bearer t3"
    now = 269.0
    assert await found.authorization("abc") == "Bearer t2"
    now = 271.0
    assert await found.authorization("abc") == "Bearer t4"
    found.forget("abc")
    assert await found.authorization("abc") == "Bearer t6"  # asked what it wants, then for a token


@pytest.mark.parametrize(
    "registry",
    [
        Registry("Digest x"),
        Registry('Bearer realm="http://auth.example.com/token"'),
        Registry(BEARER, lambda: httpx.Response(403)),
        Registry(BEARER, lambda: httpx.Response(200, text="no JSON")),
        Registry(BEARER, lambda: httpx.Response(200, json=[])),
        Registry(BEARER, lambda: httpx.Response(200, json={"token": "x", "expires_in": "soon"})),
    ],
    ids=["unknown scheme", "token in cleartext", "refused", "no JSON", "no token", "no number"],
)
async def test_a_registry_that_cannot_be_understood_is_unavailable(registry: Registry) -> None:
    """The client gets a 500 or 502, the log the reason."""
    with pytest.raises(UnavailableError):
        await tokens(registry).prepare("abc")
