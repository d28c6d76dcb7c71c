"""Workload tokens: what may be asked for, and what comes of it (rest-api contract §8.1 `iam`, sdk-latest `Secret.iam_token`)."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from sandbank.api.adapters.identity_tokens import IdentityTokens
from sandbank.api.adapters.node_messages import create_request, read_running
from sandbank.api.adapters.signing_key import SigningKey
from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.identity import IamToken, check_iam
from sandbank.api.core.team_secrets import SecretReader
from sandbank.contracts.orchestrator import RunningSandbox
from sandbank.domain.errors import DeniedError, InvalidError
from tests.unit.api.fakes import Core
from tests.unit.api.made import NOON, TEAM, sandbox

AWS = IamToken("sts.amazonaws.com", "JWT-SVID")


@pytest.fixture
def mint(tmp_path: Path) -> IdentityTokens:
    return IdentityTokens(SigningKey(tmp_path / "identity.pem"), "https://api.sandbank.test/", "sandbank.test")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({str(number): AWS for number in range(6)}, "iam.tokens: too many tokens: 6 (max 5)"),
        ({"": AWS}, "iam.tokens: token name must not be empty"),
        ({"aws": IamToken("", "JWT-SVID")}, "iam.tokens.aws.audience: audience is required"),
        ({"aws": IamToken("x", "X509-SVID")}, 'iam.tokens.aws.tokenType: only "JWT-SVID" is supported'),
        ({"aws": IamToken("x", "")}, 'iam.tokens.aws.tokenType: only "JWT-SVID" is supported'),
    ],
)
@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_wrong_is_told_in_the_contracts_words(tokens: dict[str, IamToken], message: str, enabled: bool) -> None:
    with pytest.raises(InvalidError) as raised:
        check_iam(tokens, enabled=enabled)
    assert raised.value.message == message


def test_the_switch() -> None:
    assert check_iam({}, enabled=False) == {}
    with pytest.raises(InvalidError, match=r"^Sandbox IAM workload tokens are not available for your team\.$"):
        check_iam({"aws": AWS}, enabled=False)


async def test_audiences_stay_with_the_sandbox_and_its_node(core: Core) -> None:
    made = await core.creator.create(TEAM, CreateSandbox("base", 60, secure=True, iam_tokens={"aws": AWS}))
    assert made.iam_tokens == {"aws": "sts.amazonaws.com"}
    request = create_request(core.nodes.starts[made.sandbox_id], "exec", NOON)
    known = RunningSandbox(config=request.sandbox, sandbox_id=made.sandbox_id, start_time=request.start_time, end_time=request.end_time)
    assert read_running(known, "n1").iam_tokens == {"aws": "sts.amazonaws.com"}


def test_a_token_is_checked_with_the_published_keys(mint: IdentityTokens) -> None:
    one = sandbox("i1", iam_tokens={"aws": "sts.amazonaws.com"})
    token = mint.issue(one, "sts.amazonaws.com")
    found = mint.discovery()
    assert (found["issuer"], found["jwks_uri"]) == ("https://api.sandbank.test", "https://api.sandbank.test/.well-known/jwks.json")
    key = jwt.PyJWKSet.from_dict(dict(mint.key_set()))[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["ES256"], audience="sts.amazonaws.com", issuer=found["issuer"])
    assert claims["sub"] == f"spiffe://sandbank.test/team/{one.team_id}/template/{one.template_id}/sandbox/i1"
    assert claims["exp"] - claims["iat"] == 300
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, algorithms=["ES256"], audience="other")
    assert "d" not in mint.key_set()["keys"][0]


async def test_a_node_gets_tokens_that_the_sandbox_has_and_its_rules_refer_to(core: Core, mint: IdentityTokens) -> None:
    value = "Bearer ${e2b.identity.tokens.aws} ${e2b.identity.tokens.gcp}"
    rules = {"sts.test": [{"transform": {"headers": {"Authorization": value}}}]}
    await core.store.add(sandbox("i1", network={"rules": rules}, iam_tokens={"aws": "sts.amazonaws.com", "azure": "x"}))
    reader = SecretReader(None, None, core.store, mint)  # type: ignore[arg-type]  # no secrets here
    found = await reader.values("i1", "exec-i1", ["identity.tokens.aws", "identity.tokens.gcp"])
    assert list(found) == ["identity.tokens.aws"]
    assert jwt.decode(found["identity.tokens.aws"], options={"verify_signature": False})["aud"] == ["sts.amazonaws.com"]
    with pytest.raises(DeniedError):
        await reader.values("i1", "exec-i1", ["identity.tokens.azure"])
