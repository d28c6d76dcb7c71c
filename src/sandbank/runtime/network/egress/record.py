"""A policy as JSON, for the driver's record of a sandbox."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sandbank.runtime.driver import EgressPolicy, EgressProxy, ProxyTls


def encode(policy: EgressPolicy) -> dict[str, Any]:
    """With the proxy's password and transforms' headers in it: for files that only root reads."""
    return asdict(policy)


def decode(document: dict[str, Any]) -> EgressPolicy:
    """The opposite. `KeyError` or `TypeError` for anything else."""
    proxy = document["proxy"]
    if proxy is not None:
        tls = proxy["tls"]
        proxy = EgressProxy(**{**proxy, "tls": None if tls is None else ProxyTls(**tls)})
    return EgressPolicy(
        allowed_cidrs=tuple(document["allowed_cidrs"]),
        denied_cidrs=tuple(document["denied_cidrs"]),
        allowed_domains=tuple(document["allowed_domains"]),
        proxy=proxy,
        transforms=document["transforms"],
    )
