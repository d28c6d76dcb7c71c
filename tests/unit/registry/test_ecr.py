"""Signature Version 4, against values computed with Amazon's documented steps by openssl."""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import UTC, datetime

import pytest

from sandbank.registry import ecr
from sandbank.registry.credentials import AwsCredentials, BasicCredentials, GcpCredentials

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
CREDENTIALS = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-west-1")


def openssl_hmac(key: str, text: str) -> str:
    """`key` in hexadecimal."""
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}"]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.decode().split()[-1]


def test_a_request_for_a_password_is_signed_as_amazon_documents_it() -> None:
    request = ecr.token_request(CREDENTIALS, HOST, datetime(2015, 8, 30, 12, 36, tzinfo=UTC))
    assert request.url == "https://api.ecr.eu-west-1.amazonaws.com/"
    canonical = (
        "POST\n/\n\ncontent-type:application/x-amz-json-1.1\nhost:api.ecr.eu-west-1.amazonaws.com\nx-amz-date:20150830T123600Z\n"
        "x-amz-target:AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken\n\ncontent-type;host;x-amz-date;x-amz-target\n"
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )
    digest = subprocess.run(["openssl", "dgst", "-sha256"], input=canonical.encode(), capture_output=True, check=True).stdout.decode()
    text = f"AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/eu-west-1/ecr/aws4_request\n{digest.split()[-1]}"
    key = ("AWS4" + CREDENTIALS.secret_access_key).encode().hex()
    for part in ("20150830", "eu-west-1", "ecr", "aws4_request"):
        key = openssl_hmac(key, part)
    assert request.headers["authorization"].endswith(
        f"SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={openssl_hmac(key, text)}"
    )


def test_the_answer_has_a_name_and_a_password() -> None:
    token = base64.b64encode(b"AWS:pass:word").decode()
    body = json.dumps({"authorizationData": [{"authorizationToken": token}]}).encode()
    assert ecr.read_token(body) == BasicCredentials("AWS", "pass:word")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"authorizationData": []}', b'{"authorizationData": [{"authorizationToken": "%"}]}'])
def test_any_other_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        ecr.read_token(body)


@pytest.mark.parametrize("region", ["", "evil.example/", "eu-west-1.evil.example", "EU-WEST-1", "eu west 1"])
def test_a_region_leads_nowhere_else(region: str) -> None:
    with pytest.raises(ValueError, match="region"):
        ecr.token_request(AwsCredentials("a", "b", region), HOST, datetime.now(UTC))


@pytest.mark.parametrize("host", ["evil.example", HOST + ".evil.example", "x" + HOST, HOST + ":444", "docker.io"])
def test_only_amazons_registries_are_amazons(host: str) -> None:
    assert ecr.is_ecr(HOST)
    assert not ecr.is_ecr(host)


def test_secrets_are_not_shown_with_their_owner() -> None:
    shown = repr([CREDENTIALS, BasicCredentials("me", "secret"), GcpCredentials("secret")])
    assert "secret" not in shown.replace("secret_access_key", "")
    assert "wJalr" not in shown
