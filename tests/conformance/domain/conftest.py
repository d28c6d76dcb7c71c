"""The address of the installation under test, and the packages of the JavaScript client."""

from __future__ import annotations

import pytest

from tests.conformance.domain.clients import Address, local_address
from tests.conformance.javascript.test_javascript import packages
from tests.product.instance import Instance

__all__ = ["packages"]


@pytest.fixture(scope="module")
def address(server: Instance, packages: None) -> Address:
    """Where the server is found by name."""
    return local_address(server)
