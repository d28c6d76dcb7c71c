"""One finding of `sandbank doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """`costs` says what does not work while it is like this, `fix` what to do about it; both are empty when all is well."""

    name: str
    state: State
    found: str
    costs: str = ""
    fix: str = ""


def ok(name: str, found: str) -> Check:
    """Nothing to do."""
    return Check(name, "ok", found)


def warn(name: str, found: str, *, costs: str, fix: str) -> Check:
    """Sandboxes run, but not all of them or not with everything."""
    return Check(name, "warn", found, costs, fix)


def fail(name: str, found: str, *, fix: str, costs: str = "sandboxes do not run") -> Check:
    """Nothing works until this is repaired."""
    return Check(name, "fail", found, costs, fix)
