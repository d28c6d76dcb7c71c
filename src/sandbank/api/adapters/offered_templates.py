"""The templates that an installation offers to everybody: `base`, and the code interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sandbank.api.core.default_templates import DefaultFile, DefaultTemplate
from sandbank.api.core.template_recipe import BuildRecipe, BuildStep
from sandbank.code_interpreter import recipe
from sandbank.db.seed import BASE_ALIAS

_BASE_DESCRIPTION = "Debian with Python, Node.js and the usual tools"
_INTERPRETER_DESCRIPTION = "Kernels for the code interpreter, with pandas and matplotlib, warm"

InterpreterChoice = Literal["minimal", "full", "off"]


@dataclass(frozen=True)
class Offer:
    """How large `base` is, in CPUs and MiB, and how much of the code interpreter there is."""

    base_vcpu: int
    base_memory_mib: int
    base_disk_mib: int
    code_interpreter: InterpreterChoice


def offered_templates(offer: Offer, revision: str) -> list[DefaultTemplate]:
    """In the order in which they are built; another `revision` of what `base` is made of has all of them built anew."""
    base = DefaultTemplate(
        alias=BASE_ALIAS,
        description=_BASE_DESCRIPTION,
        recipe=BuildRecipe(image=recipe.BASE_IMAGE, revision=revision),
        vcpu=offer.base_vcpu,
        ram_mb=offer.base_memory_mib,
        free_disk_mb=offer.base_disk_mib,
    )
    return [base] if offer.code_interpreter == "off" else [base, _interpreter(offer, recipe.Profile(offer.code_interpreter), revision)]


def _interpreter(offer: Offer, profile: recipe.Profile, revision: str) -> DefaultTemplate:
    made = recipe.recipe(profile)
    return DefaultTemplate(
        alias=recipe.NAME,
        description=_INTERPRETER_DESCRIPTION,
        recipe=BuildRecipe(
            image=made.from_image,
            steps=[BuildStep(step.type, step.args, files_hash=None if step.files is None else step.files.sha256) for step in made.steps],
            start_cmd=made.start_command,
            ready_cmd=made.ready_command,
            revision=revision,
        ),
        vcpu=made.cpu_count,
        ram_mb=made.memory_mib,
        free_disk_mb=offer.base_disk_mib,
        files=tuple(DefaultFile(step.files.sha256, step.files.content) for step in made.steps if step.files is not None),
    )
