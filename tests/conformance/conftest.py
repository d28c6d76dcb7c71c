"""One installation for all conformance tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.product.instance import Instance, for_tests, outside
from tests.product.serving import pointing_at, serving


@pytest.fixture(scope="package")
def server() -> Iterator[Instance]:
    """The installation under test; the environment names it to the SDKs."""
    if (running := outside()) is not None:
        with pointing_at(running):
            yield running
        return
    with serving(for_tests(code_interpreter="minimal")) as instance:
        yield instance
