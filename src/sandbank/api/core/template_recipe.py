"""What a build is made of, and the whole of what a builder is told (templates contract §1.2.2, §1.2.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbank.domain.errors import InvalidError

_FILES_HASH = re.compile(r"[0-9a-f]{64}")


def require_files_hash(text: str) -> str:
    """The hash of an archive of files, which is the client's own affair; `InvalidError` for anything else."""
    if _FILES_HASH.fullmatch(text) is None:
        raise InvalidError("Invalid files hash")
    return text


@dataclass(frozen=True, slots=True)
class BuildStep:
    """One instruction. Which types there are and what their arguments mean is the builder's to say."""

    type: str
    args: Sequence[str] = ()
    files_hash: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class BuildRecipe:
    """Instructions on top of an image or of a template; `registry` opens the image's registry and is never stored.

    `revision` tells recipes apart whose image means something else than before, in templates that an installation offers.
    """

    image: str | None = None
    template: str | None = None
    steps: Sequence[BuildStep] = ()
    start_cmd: str = ""
    ready_cmd: str = ""
    force: bool = False
    registry: Mapping[str, str] | None = field(default=None, repr=False)
    revision: str = ""

    def document(self) -> dict[str, Any]:
        """What of it is kept with the build, as E2B keeps it (§1.4)."""
        steps = [{"type": one.type, "args": list(one.args), "filesHash": one.files_hash, "force": one.force} for one in self.steps]
        document = {"from_image": self.image, "from_template": self.template, "steps": steps}
        return document | ({"revision": self.revision} if self.revision else {})


@dataclass(frozen=True, slots=True)
class BuildBase:
    """The build that another one goes on from, and what its client calls it."""

    alias: str
    build_id: str


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """A recipe and where its result goes. Sizes in MiB. Without a `base` it is of the recipe's image; an empty one was pushed (§1.1.3)."""

    template_id: str
    build_id: str
    team_id: str
    version: str
    vcpu: int
    ram_mb: int
    free_disk_mb: int
    recipe: BuildRecipe
    base: BuildBase | None = None


def require_sound(recipe: BuildRecipe) -> None:
    """`InvalidError` for a recipe that nobody could build."""
    if not recipe.image and not recipe.template:
        raise InvalidError("Invalid request body: must specify either fromImage or fromTemplate")
    if recipe.image and recipe.template:
        raise InvalidError("Invalid request body: cannot specify both fromImage and fromTemplate")
    for step in recipe.steps:
        if step.files_hash:
            require_files_hash(step.files_hash)
    texts = [recipe.image, recipe.template, recipe.start_cmd, recipe.ready_cmd, *(recipe.registry or {}).values()]
    for step in recipe.steps:
        texts += [step.type, *step.args]
    if any(text is not None and "\0" in text for text in texts):
        raise InvalidError("Invalid request body: a null character cannot be part of a command")
