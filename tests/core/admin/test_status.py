"""What a server reports of the time of its messages: of the last seconds alone."""

from __future__ import annotations

import pytest

from evanesce.admin.status import REPORTS, RecentValues
from evanesce.metrics import Histogram


@pytest.mark.parametrize(
    ("values", "p99"),
    [
        ([], 0.0),
        ([0.003], 0.005),
        ([0.003] * 99 + [0.2], 0.005),
        ([0.003] * 98 + [0.2] * 2, 0.25),
        ([1_000.0], 5.0),
    ],
)
def test_the_percentile_is_rounded_up_to_a_bound(values: list[float], p99: float) -> None:
    histogram = Histogram()
    recent = RecentValues(histogram)
    for value in values:
        histogram.observe(value)
    assert recent.p99 == p99


def test_what_is_older_does_not_count() -> None:
    histogram = Histogram()
    histogram.observe(1.0)
    recent = RecentValues(histogram)
    assert recent.p99 == 0.0
    histogram.observe(0.2, 50)
    for _ in range(REPORTS - 1):
        recent.advance()
        assert recent.p99 == 0.25
    histogram.observe(0.001)
    recent.advance()
    assert recent.p99 == 0.001
