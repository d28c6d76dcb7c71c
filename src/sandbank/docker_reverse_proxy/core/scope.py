"""What a token is asked for: `repository:e2b/custom-envs/<templateID>:<actions>` (contract templates-and-data §1.1.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sandbank.domain.errors import DeniedError, InvalidError

REPOSITORIES = "e2b/custom-envs"
TEMPLATE_ID = r"[a-z0-9][a-z0-9_-]{0,62}"

_SCOPE = re.compile(rf"repository:{REPOSITORIES}/([^:]+):([^:]+)")
_TEMPLATE_ID = re.compile(TEMPLATE_ID)


def parse_scope(scopes: Sequence[str]) -> str:
    """The template's ID out of the first scope; others are what a client would like to mount from, and are not looked at.

    `InvalidError` for another form, `DeniedError` for a wish to delete and for what is no template's ID.
    """
    match = _SCOPE.fullmatch(scopes[0])
    if match is None:
        raise InvalidError("the scope is not a template's repository")
    template_id, actions = match[1], match[2]
    if "delete" in actions:
        raise DeniedError("images cannot be deleted")
    if _TEMPLATE_ID.fullmatch(template_id) is None:
        raise DeniedError("there is no such template")
    return template_id
