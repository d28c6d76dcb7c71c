"""References to templates: `[namespace/]alias[:tag]` (REST contract §4.3)."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from sandbank.domain.errors import InvalidError

DEFAULT_TAG = "default"

_IDENTIFIER = re.compile(r"[a-z0-9_-]+")
_TAG = re.compile(r"[a-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class TemplateReference:
    """A parsed reference. `tag` is `None` for the default one; `identifier` is an alias or a raw template ID."""

    namespace: str | None
    identifier: str
    tag: str | None

    @property
    def build_id(self) -> uuid.UUID | None:
        """The one build that a UUID in place of the tag stands for."""
        if self.tag is None:
            return None
        try:
            return uuid.UUID(self.tag)
        except ValueError:
            return None

    @property
    def name(self) -> str:
        """The reference without its tag."""
        return self.identifier if self.namespace is None else f"{self.namespace}/{self.identifier}"

    def __str__(self) -> str:
        return self.name if self.tag is None else f"{self.name}:{self.tag}"


def _part(text: str, pattern: re.Pattern[str], what: str) -> str:
    normalised = text.strip().lower()
    if pattern.fullmatch(normalised) is None:
        raise InvalidError(f"invalid {what}: {text.strip()}")
    return normalised


def parse_template_reference(text: str) -> TemplateReference:
    """Parse what a client calls a template; `InvalidError` names the part that is wrong.

    Upper case and surrounding spaces are forgiven; `:default` means the same as no tag.
    """
    name, has_tag, tag_text = text.strip().partition(":")
    tag = _part(tag_text, _TAG, "tag") if has_tag else None
    left, has_namespace, right = name.partition("/")
    namespace = _part(left, _IDENTIFIER, "namespace") if has_namespace else None
    identifier = _part(right if has_namespace else left, _IDENTIFIER, "template ID")
    return TemplateReference(namespace, identifier, None if tag == DEFAULT_TAG else tag)


def parse_tag(text: str) -> str:
    """Read what a build is to be tagged with, the default tag included; `InvalidError` names what is wrong.

    UUIDs stand for builds wherever a tag is read, so none can be one.
    """
    tag = _part(text, _TAG, "tag")
    if TemplateReference(None, "", tag).build_id is not None:
        raise InvalidError(f"invalid tag: {tag}: tag cannot be a UUID")
    return tag
