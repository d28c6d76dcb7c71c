"""Asking Amazon for a password to its registry: `GetAuthorizationToken`, signed by hand (Signature Version 4). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import datetime

from sandbank.registry.credentials import AwsCredentials, BasicCredentials

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d{1,2}")
_HOST = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
_TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
_TYPE = "application/x-amz-json-1.1"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A POST."""

    url: str
    headers: dict[str, str]
    body: bytes


def is_ecr(host: str) -> bool:
    """Whether a registry is Amazon's: the only kind that is shown what it gave out."""
    return _HOST.fullmatch(host) is not None


def token_request(credentials: AwsCredentials, host: str, now: datetime) -> SignedRequest:
    """What to send for a password to the registry at `host`; `ValueError` for no such region."""
    region = credentials.region
    if _REGION.fullmatch(region) is None:
        raise ValueError(f"{region[:40]!r} is not a region of AWS")
    endpoint = f"api.ecr.{region}.amazonaws.com" + (".cn" if host.endswith(".cn") else "")
    body = b"{}"
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"content-type": _TYPE, "host": endpoint, "x-amz-date": stamp, "x-amz-target": _TARGET}
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        ["POST", "/", "", *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, hashlib.sha256(body).hexdigest()]
    )
    scope = f"{stamp[:8]}/{region}/ecr/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    signed = f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return SignedRequest(f"https://{endpoint}/", {**headers, "authorization": signed}, body)


def read_token(body: bytes) -> BasicCredentials:
    """The name and password in the answer; `ValueError` for any other."""
    try:
        token = json.loads(body)["authorizationData"][0]["authorizationToken"]
        username, colon, password = base64.b64decode(token, validate=True).decode().partition(":")
    except (KeyError, IndexError, TypeError, UnicodeDecodeError, binascii.Error) as error:
        raise ValueError("AWS answered without a token") from error
    if not colon:
        raise ValueError("AWS answered without a token")
    return BasicCredentials(username, password)
