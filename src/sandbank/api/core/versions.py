"""Versions of the agent, compared."""

from __future__ import annotations


def version(text: str) -> tuple[int, ...]:
    """`v0.6.13+x` as numbers; what is no number is left out."""
    parts = text.removeprefix("v").split("+")[0].split("-")[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit())
