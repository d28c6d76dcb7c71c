"""Runs every pinned release of the official clients against an installation of the tests, and writes the page of what they can do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.conformance.matrix.page import PAGE, render
from tests.conformance.matrix.runs import run_all
from tests.product.instance import for_tests
from tests.product.serving import serving


def main() -> None:
    """Takes a minute; needs root, as sandboxes do."""
    with serving(for_tests(code_interpreter="minimal")) as server:
        results = run_all(server)
    for release, outcomes in results.items():
        if isinstance(outcomes, Exception):
            sys.exit(f"{release}: {outcomes}")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(results))


if __name__ == "__main__":
    main()
