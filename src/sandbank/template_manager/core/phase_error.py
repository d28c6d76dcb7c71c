"""How builds fail in ways that whoever wrote the recipe can do something about."""

from __future__ import annotations

BASE, FINALIZE = "base", "finalize"
"""The steps that are not in the recipe; those that are go by their numbers from 1 (contract templates-and-data §12.1)."""


class PhaseError(Exception):
    """A build failed at `step`; `message` is for its author."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step = step
        self.message = message
