"""`docs/reference/sdk-compatibility.md`, from what the releases could do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.conformance.matrix.releases import Release
from tests.conformance.matrix.runs import NOT_YET, Outcomes

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "sdk-compatibility.md"
_TITLES = {
    "python": "Python: `e2b`",
    "javascript": "JavaScript: `e2b`",
    "python-code-interpreter": "Python: `e2b-code-interpreter`",
    "javascript-code-interpreter": "JavaScript: `@e2b/code-interpreter`",
    "cli": "Command line: `@e2b/cli`",
}
_FAILS = "**fails**"
_HEAD = """# Compatibility of the official clients

Each release, unmodified and with the dependencies of its lock file in `tests/conformance/matrix`, has run one scenario against
Sandbank, with `E2B_API_KEY`, `E2B_DOMAIN` and the variable that makes it trust the local CA (see
[TLS and names](../operations/tls-and-names.md)). Written by `make compatibility`; a test runs every release again and holds this page to
what they do.

✓ works · – this release of the client has no such thing · *later* Sandbank does not have it yet and says so
"""


def _cell(capability: str, outcome: str) -> str:
    if outcome in ("passed", "absent"):
        return "✓" if outcome == "passed" else "–"
    return "*later*" if NOT_YET.get(capability, "\0") in outcome else _FAILS


def render(results: Mapping[Release, Outcomes | Exception]) -> str:
    """The whole page; releases are columns, capabilities rows."""
    parts = [_HEAD]
    for client, title in _TITLES.items():
        columns = {release.version: outcomes for release, outcomes in results.items() if release.client == client}
        rows = next(outcomes for outcomes in columns.values() if isinstance(outcomes, dict))
        lines = [f"| {title} | {' | '.join(columns)} |", f"|---|{':-:|' * len(columns)}"]
        for capability in rows:
            cells = [
                _cell(capability, outcomes[capability]) if isinstance(outcomes, dict) else "**fails**" for outcomes in columns.values()
            ]
            lines.append(f"| {capability.replace('_', ' ')} | {' | '.join(cells)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
