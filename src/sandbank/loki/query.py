"""LogQL for the questions that the API asks (templates contract §5.5), safe whatever the texts in it are."""

from __future__ import annotations

from sandbank.domain.log_query import LogQuery
from sandbank.domain.log_record import METRICS

_OPERATORS = frozenset(r"\.+*?()|[]{}^$")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quote(text: str) -> str:
    """A double-quoted string as LogQL, which is Go, reads it. Backticks, E2B's choice, could not hold a backtick."""
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in _valid(text)) + '"'


def regex_of(text: str) -> str:
    """A regular expression of RE2's for exactly `text`."""
    return "".join("\\" + c if c in _OPERATORS else c for c in text)


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def logql(query: LogQuery) -> str:
    """The selector, with filters where `query` has some."""
    subject = query.subject
    matchers = [f"{name}={quote(value)}" for name, value in _labels(query).items() if value]
    if subject.sandbox_id:
        matchers.append(f"category!={quote(METRICS)}")
    text = "{" + ", ".join(matchers) + "}"
    filters = []
    if (levels := query.levels) is not None:
        filters.append(f"level =~ {quote('(' + '|'.join(levels) + ')')}")
    if query.search:
        filters.append(f"message =~ {quote('(?s).*' + regex_of(_valid(query.search)) + '.*')}")
    return " | ".join([text, "json", *filters]) if filters else text


def _labels(query: LogQuery) -> dict[str, str]:
    subject = query.subject
    return {
        "teamID": subject.team_id,
        "sandboxID": subject.sandbox_id,
        "service": query.service or "",
        "buildID": subject.build_id,
        "envID": subject.template_id,
    }
