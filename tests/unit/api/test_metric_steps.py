"""How far apart points of a series are (rest-api contract §12.1)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sandbank.analytics.metrics import step_seconds


@pytest.mark.parametrize(
    ("hours", "step"),
    [(0.9, 5), (1, 30), (5.9, 30), (6, 60), (11.9, 60), (12, 120), (23.9, 120), (24, 300), (167, 300), (168, 900), (9999, 900)],
)
def test_steps_by_length_of_the_range(hours: float, step: int) -> None:
    assert step_seconds(timedelta(hours=hours)) == step
