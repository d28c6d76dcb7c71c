"""Names of images as people write them: `debian`, `ghcr.io/owner/name:tag`, `localhost:5000/x@sha256:…`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbank.domain.errors import InvalidError

DOCKER_HUB = "docker.io"
_DOCKER_HUB_API = "registry-1.docker.io"
_OTHER_NAMES_OF_DOCKER_HUB = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})

# As the distribution specification has them; `fullmatch` and no nested repetition of the same characters, so that nothing is quadratic.
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_REPOSITORY = 255


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image in a registry. `registry` is `host[:port]`; one of `tag` and `digest` decides, the digest if both are there."""

    registry: str
    repository: str
    tag: str = "latest"
    digest: str = ""

    @property
    def api_host(self) -> str:
        """Who is asked for it."""
        return _DOCKER_HUB_API if self.registry == DOCKER_HUB else self.registry

    @property
    def version(self) -> str:
        """What the registry is asked for: the digest, or the tag."""
        return self.digest or self.tag

    @property
    def familiar(self) -> str:
        """The repository as short as it can be said: without the registry and `library/` of Docker Hub."""
        if self.registry == DOCKER_HUB:
            return self.repository.removeprefix("library/")
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        """In full, such that `parse_reference` makes the same of it."""
        return f"{self.registry}/{self.repository}:{self.tag}" + (f"@{self.digest}" if self.digest else "")


def is_digest(text: str) -> bool:
    """Whether it is one of the only kind that is verified here, SHA-256."""
    return _DIGEST.fullmatch(text) is not None


def parse_reference(text: str) -> ImageReference:
    """The image that `text` names, by Docker's defaults; `InvalidError` in E2B's words (templates contract §1.12) for no such name."""
    name, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _invalid(text, "the digest is not sha256 and 64 hexadecimal digits")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, path = first, rest
    else:
        registry, path = DOCKER_HUB, name
    path, colon, tag = path.partition(":")
    if colon and _TAG.fullmatch(tag) is None:
        raise _invalid(text, "the tag has characters that no tag may have")
    host = _HOST.fullmatch(registry)
    if host is None or int(host["port"] or 1) not in range(1, 65536) or len(registry) > 255:
        raise _invalid(text, "the registry is not a host name")
    if not path or len(path) > _LONGEST_REPOSITORY or not all(map(_COMPONENT.fullmatch, path.split("/"))):
        raise _invalid(text, "repository names are lower case letters, digits and single separators")
    registry = registry.lower()
    if registry in _OTHER_NAMES_OF_DOCKER_HUB:
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return ImageReference(registry, path, tag or "latest", digest)


def _invalid(text: str, why: str) -> InvalidError:
    shown = "".join(character if character.isprintable() else "?" for character in text[:256])
    return InvalidError(f"invalid image reference '{shown}': {why}")
