"""One installation for all conformance tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.product.instance import Instance, for_tests
from tests.product.serving import serving


@pytest.fixture(scope="package")
def server() -> Iterator[Instance]:
    """The installation under test; the environment names it to the SDKs."""
    with serving(for_tests(code_interpreter="minimal")) as instance:
        yield instance
