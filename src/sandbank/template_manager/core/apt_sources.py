"""Reading apt's sources in both of their formats, and picking what serves Debian from among them. Pure: text in, sources out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

# A suite is a release under its code name or its role, with a suffix for updates; third parties' suites (`bookworm-pgdg`) are neither.
_RELEASES = "buster|bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable"
_SUITE = re.compile(rf"(?:{_RELEASES})(?P<rest>-updates|-security|/updates|)")
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>\S.*)")


@dataclass(frozen=True)
class AptSource:
    """One line of a `sources.list`."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    @property
    def line(self) -> str:
        """As apt reads it."""
        return f"deb {self.uri} {self.suite} {' '.join(self.components)}"


def debian_default(suite: str) -> tuple[AptSource, ...]:
    """Debian's own servers."""
    return debian_mirror(suite, "http://deb.debian.org/debian", "http://deb.debian.org/debian-security")


def debian_mirror(suite: str, main: str, security: str | None) -> tuple[AptSource, ...]:
    """A mirror with the layout of Debian's own; without a security mirror those updates are left out."""
    sources = [AptSource(main, suite, ("main",)), AptSource(main, f"{suite}-updates", ("main",))]
    if security:
        sources.append(AptSource(security, f"{suite}-security", ("main",)))
    return tuple(sources)


def parse_sources(name: str, text: str) -> list[AptSource]:
    """The enabled binary sources of one file; its name tells the format (`.sources` is deb822)."""
    return list(_parse_stanzas(text) if name.endswith(".sources") else _parse_lines(text))


def debian_sources(sources: Iterable[AptSource], suite: str) -> tuple[AptSource, ...]:
    """Those of `sources` that serve Debian itself, asked for `suite` instead of the node's release; empty when none does.

    Without other people's repositories: their packages have no place in a template, and their keys are not in it.
    """
    found: dict[tuple[str, str], AptSource] = {}
    for source in sources:
        match = _SUITE.fullmatch(source.suite.rstrip("/"))
        foreign_key = source.signed_by and "debian-archive" not in source.signed_by
        if match is None or foreign_key or "main" not in source.components or "ubuntu" in source.uri:
            continue
        rest = match["rest"].replace("/updates", "-security")
        moved = replace(source, suite=suite + rest, components=("main",), signed_by="")
        found.setdefault((moved.uri, moved.suite), moved)
    return tuple(found.values())


def has_password(url: str) -> bool:
    """Whether `url` carries credentials, which sandboxes must not be given by accident."""
    return urlsplit(url).username is not None


def _parse_lines(text: str) -> Iterator[AptSource]:
    for raw in text.splitlines():
        match = _ONE_LINE.fullmatch(raw.partition("#")[0].strip())
        if match:
            options = dict(item.split("=", 1) for item in (match["options"] or "").split() if "=" in item)
            yield AptSource(match["uri"], match["suite"], tuple(match["components"].split()), options.get("signed-by", ""))


def _parse_stanzas(text: str) -> Iterator[AptSource]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").strip().lower() in ("no", "false"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield AptSource(uri, suite, tuple(fields.get("components", "").split()), fields.get("signed-by", "").strip())


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            fields[key] = f"{fields.get(key, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            fields[key] = value.strip()
    return fields
