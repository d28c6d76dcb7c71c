"""The stack that runs already, named by the environment as `scripts/compose-test.sh` does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.product.instance import Instance, outside
from tests.product.serving import pointing_at


@pytest.fixture(scope="session")
def stack() -> Iterator[Instance]:
    running = outside()
    assert running is not None, "SANDBANK_TEST_OUTSIDE names no stack: run `make compose-test`"
    with pointing_at(running):
        yield running
