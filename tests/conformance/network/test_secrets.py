"""Secrets on their way out of sandboxes, by both official clients (rest-api contract §10.1 `rules`, §20)."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from e2b import Sandbox, SandboxException, Secret
from e2b.sandbox.sandbox_api import SandboxEgressProxyOpts

from tests.conformance.javascript.test_javascript import HERE, packages  # noqa: F401
from tests.conformance.python.conftest import SandboxMaker, make_sandbox  # noqa: F401
from tests.integration.network.internet import Internet
from tests.integration.network.origin import OTHER_SITE, PASSWORD, SECURE_SITE, SOCKS, SOCKS_PORT, USER
from tests.product.instance import Instance, wait_until
from tests.product.processes import kill_hard, service_pid

# It resolves the names of the small internet.
PROXY: SandboxEgressProxyOpts = {"address": f"{SOCKS}:{SOCKS_PORT}", "username": USER.decode(), "password": PASSWORD.decode()}
DIRECTLY = f"curl -k -sS --max-time 10 --connect-to ::{SECURE_SITE}: https://secure.test/"
ASK = f"curl -sS --max-time 10 --connect-to ::{OTHER_SITE}: "
PYTHON = f"""
import json, socket, ssl, urllib.request
real = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: real("{OTHER_SITE}", *rest, **more)
print(urllib.request.urlopen("https://secure.test/").read().decode())
"""
NODE = f"""
require('https').get({{ host: '{OTHER_SITE}', servername: 'secure.test', headers: {{ Host: 'secure.test' }}, path: '/' }},
  (answer) => answer.pipe(process.stdout)).on('error', (error) => console.log(error.message))
"""


@pytest.fixture
def key(server: Instance, internet: Internet) -> Iterator[str]:
    server.egress_ca_bundle.write_text(internet.ca)
    name = f"key-{secrets.token_hex(4)}"
    Secret.create(name, "s3cr3t")
    yield name
    Secret.destroy(name)


def network(key: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {Secret.fill(key)}", "X-Team": "us"}
    return {"egress_proxy": PROXY, "rules": {"secure.test": [{"transform": {"headers": headers}}]}}


def said(sandbox: Sandbox, command: str) -> str:
    return sandbox.commands.run(command).stdout


def headers_seen(sandbox: Sandbox, command: str = ASK + "https://secure.test/") -> dict[str, str]:
    answer: dict[str, Any] = json.loads(said(sandbox, command))
    assert answer["address"] == SECURE_SITE
    headers: dict[str, str] = answer["headers"]
    return headers


def test_requests_carry_secrets_that_nobody_inside_ever_sees(make_sandbox: SandboxMaker, key: str) -> None:  # noqa: F811
    sandbox = make_sandbox(network=network(key))
    seen = headers_seen(sandbox, ASK + "-H 'Authorization: mine' https://secure.test/")
    assert (seen["authorization"], seen["x-team"]) == ("Bearer s3cr3t", "us")
    sandbox.files.write("/home/user/ask.py", PYTHON)
    assert headers_seen(sandbox, "python3 ask.py")["authorization"] == "Bearer s3cr3t"
    sandbox.files.write("/home/user/ask.js", NODE)
    assert headers_seen(sandbox, "node ask.js")["authorization"] == "Bearer s3cr3t"
    assert "https only" in said(sandbox, ASK + "http://secure.test/")
    assert "s3cr3t" not in said(
        sandbox, "sudo sh -c 'env; cat /proc/*/environ /etc/environment /run/e2b/.* 2>/dev/null' | tr '\\0' '\\n'; true"
    )
    shown = sandbox.get_info().network
    assert "s3cr3t" not in str(shown)
    assert Secret.fill(key) in str(shown)


def test_rules_may_come_later_change_and_go(make_sandbox: SandboxMaker, key: str) -> None:  # noqa: F811
    sandbox = make_sandbox(network={"egress_proxy": PROXY})
    assert "authorization" not in headers_seen(sandbox, DIRECTLY)
    sandbox.update_network(network(key))  # type: ignore[arg-type]
    assert headers_seen(sandbox)["authorization"] == "Bearer s3cr3t"
    Secret.update(key, "changed")
    wait_until(lambda: headers_seen(sandbox)["authorization"] == "Bearer changed", "the new value", seconds=20)
    sandbox.update_network({"egress_proxy": PROXY})
    assert "authorization" not in headers_seen(sandbox, DIRECTLY)


def test_a_node_that_was_killed_goes_on_with_it(server: Instance, make_sandbox: SandboxMaker, key: str) -> None:  # noqa: F811
    sandbox = make_sandbox(network=network(key))
    kill_hard(service_pid(server))
    server.up()
    assert headers_seen(sandbox)["authorization"] == "Bearer s3cr3t"
    sandbox.update_network(network(key))  # type: ignore[arg-type]
    assert headers_seen(sandbox)["authorization"] == "Bearer s3cr3t"


def test_a_secret_that_there_is_not(make_sandbox: SandboxMaker, key: str) -> None:  # noqa: F811
    sandbox = make_sandbox(network=network("none"))
    assert said(sandbox, ASK + "https://secure.test/") == "sandbank: there is no secret none\n"
    bad = network(key)
    bad["rules"]["secure.test"][0]["transform"]["headers"]["X"] = "${e2b.secrets.}"
    with pytest.raises(SandboxException, match="malformed E2B placeholder"):
        make_sandbox(network=bad)


def test_the_javascript_client(server: Instance, key: str, packages: None) -> None:  # noqa: F811
    done = subprocess.run(
        ["node", "secrets_scenario.mjs", key, OTHER_SITE, PROXY["address"], PROXY["username"], PROXY["password"]],
        cwd=HERE,
        env={**os.environ, **server.client_environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["created"]["name"], seen["created"]["version"], seen["created"]["metadata"]) == (f"{key}-js", 1, {"for": "tests"})
    assert seen["updated"]["version"] == 2
    assert seen["found"] == seen["updated"]
    assert f"{key}-js" in seen["listed"]
    assert "cannot be modified" in seen["taken"]
    assert json.loads(seen["answer"])["headers"]["authorization"] == "Basic second"
    assert (seen["deleted"], seen["gone"]) == ([True, False], "SecretNotFoundError")


def test_a_workload_token_says_which_sandbox_asks(server: Instance, make_sandbox: SandboxMaker, key: str) -> None:  # noqa: F811
    """§8.1 `iam`: anybody can check it with what the API publishes."""
    rules = {"secure.test": [{"transform": lambda context: {"headers": {"Authorization": f"Bearer {context.iam.tokens['aws']}"}}}]}
    iam = {"tokens": {"aws": Secret.iam_token(audience="sts.amazonaws.com", token_type="JWT-SVID")}}  # a kind
    sandbox = make_sandbox(network={"egress_proxy": PROXY, "rules": rules}, iam=iam)
    token = headers_seen(sandbox)["authorization"].removeprefix("Bearer ")
    published = httpx.get(f"{server.api_url}/.well-known/jwks.json").json()
    signed_by = jwt.PyJWKSet.from_dict(published)[jwt.get_unverified_header(token)["kid"]]
    issuer = httpx.get(f"{server.api_url}/.well-known/openid-configuration").json()["issuer"]
    claims = jwt.decode(token, signed_by, algorithms=["ES256"], audience="sts.amazonaws.com", issuer=issuer)
    assert claims["sub"].endswith(f"/sandbox/{sandbox.sandbox_id}")
    sandbox.update_network(
        {"egress_proxy": PROXY, "rules": {"secure.test": [{"transform": {"headers": {"X": "${e2b.identity.tokens.gcp}"}}}]}}
    )
    assert said(sandbox, ASK + "https://secure.test/") == "sandbank: there is no identity token gcp\n"
