"""Names of states that can be built upon: each is made of the one before it and the step (contract templates-and-data §1.8)."""

from __future__ import annotations

import hashlib

from sandbank.template_manager.core.order import Step

SHOWN_CHARACTERS = 12


def chain(*parts: str) -> str:
    """SHA-256 of the parts, each ended by a `;`, in hex."""
    return hashlib.sha256("".join(f"{part};" for part in parts).encode()).hexdigest()


def base_hash(version: str, source: str) -> str:
    """Of a base; `version` names everything that Sandbank itself puts into it."""
    return chain("v2", version, source)


def step_hash(previous: str, step: Step) -> str:
    """Of a step upon what is named `previous`. Each argument is told apart, which joining them by spaces would not do."""
    return chain(previous, step.type, *(f"{len(arg)}:{arg}" for arg in step.args), step.files_hash or "<nil>")
