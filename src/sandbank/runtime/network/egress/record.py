"""A policy as JSON, for the driver's record of a sandbox."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sandbank.runtime.driver import CLOSED, EgressPolicy, EgressProxy, ProxyTls

_LISTS = ("allowed_cidrs", "denied_cidrs", "allowed_domains")


def encode(policy: EgressPolicy) -> dict[str, Any]:
    """With the proxy's password and transforms' headers in it: for files that only root reads."""
    document = asdict(policy)
    return document | {name: list(document[name]) for name in _LISTS}


def decode(document: dict[str, Any]) -> EgressPolicy:
    """The opposite; for anything else `CLOSED`, which is wrong for nobody but the tenant who hears of it at once."""
    try:
        proxy = document["proxy"]
        if proxy is not None:
            tls = proxy["tls"]
            proxy = EgressProxy(**{**proxy, "tls": None if tls is None else ProxyTls(**tls)})
        lists = {name: tuple(document[name]) for name in _LISTS}
        return EgressPolicy(**lists, proxy=proxy, transforms=document["transforms"])
    except (KeyError, TypeError):
        return CLOSED
