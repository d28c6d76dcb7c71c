"""The internet that sandboxes of these tests see, and programs that look at it from inside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.network.internet import Internet


@pytest.fixture(scope="package")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    made = Internet(tmp_path_factory.mktemp("internet"))
    yield made
    made.end()
