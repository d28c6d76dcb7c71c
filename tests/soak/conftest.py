"""An installation to be mistreated, apart from the one of the conformance tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.product.instance import Instance, for_tests
from tests.product.serving import serving


@pytest.fixture(scope="package")
def server() -> Iterator[Instance]:
    """The installation; each test leaves it running."""
    with serving(for_tests()) as instance:
        yield instance
