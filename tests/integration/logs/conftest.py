"""An installation whose logs go to a Loki of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.product.instance import SEEDED_API_KEY, Instance, for_tests
from tests.product.loki import Loki, running_loki
from tests.product.serving import serving


@pytest.fixture(scope="module")
def loki() -> Iterator[Loki]:
    with running_loki(user="writer", password="secret") as running:
        yield running
        assert running.refused == []


@pytest.fixture(scope="module")
def server(loki: Loki) -> Iterator[Instance]:
    instance = for_tests()
    extra = {"LOKI_URL": loki.url, "LOKI_USER": "writer", "LOKI_PASSWORD": "secret"}
    with serving(replace(instance, extra=instance.extra | extra)) as running:
        yield running


@pytest.fixture(scope="module")
def api(server: Instance) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.api_url, headers={"X-API-KEY": SEEDED_API_KEY}, timeout=30) as client:
        yield client
