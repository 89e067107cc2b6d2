"""The small charts of the page: bars on a logarithmic scale, and histograms."""

import re

import numpy as np
import pytest

from parity.command.page.charts import HEIGHT, bar, histogram
from parity.judging.verdict import BINS, LARGEST_POWER, TensorReport

Columns = list[tuple[float, float, float]]


@pytest.mark.parametrize(
    ("ratio", "end", "text"),
    [
        (0.0, 0, "0"),
        (1e-9, 1, "1.0e-9"),  # an error that is smaller than the scale is still seen
        (1e-4, 10, "1.0e-4"),
        (0.1, 40, "0.10"),
        (1.0, 50, "1.00"),
        (1e3, 80, "1.0e3"),
        (np.inf, 100, "∞"),
    ],
)
def test_a_bar_has_five_decades_on_each_side_of_1(ratio: float, end: float, text: str) -> None:
    found = bar(ratio)
    assert found is not None
    assert (found.end, found.text, found.limit) == (end, text, 50)
    assert found.beyond == (ratio > 1)


def test_a_bar_may_have_another_limit() -> None:
    found = bar(2.0, 10.0)
    assert found is not None
    assert (found.limit, found.limit_text, found.beyond) == (60, "10", False)
    assert bar(float("nan"), 1.3) is None


def columns(path: str) -> Columns:
    """Left, right and height of each."""
    found = re.findall(r"M([\d.]+) 40v-([\d.]+)h([\d.]+)v[\d.]+z", path)
    return [(float(x), float(x) + float(wide), float(high)) for x, high, wide in found]


def counted(bins: dict[int, int]) -> TensorReport:
    """A report with so many values in the bins of these powers of two."""
    powers = range(-LARGEST_POWER, LARGEST_POWER + 1)
    return TensorReport("y", "y", "Conv", histogram=(0, *(bins.get(k, 0) for k in powers)))


def test_a_histogram_divides_at_the_limit() -> None:
    found = histogram(counted({-3: 5, 0: 7, 1: 1, 4: 2}))
    assert found is not None
    assert (found.none, found.inside, found.outside, found.counted) == (0, 12, 3, 15)
    assert (found.limit, found.start, found.powers, found.width) == (65.22, 21.74, (-5, 4), 11.5)
    limit = found.limit / 100 * found.width
    within, beyond = columns(found.within), columns(found.beyond)
    assert (len(within), len(beyond)) == (2, 2)
    assert max(right for _, right, _ in within) == pytest.approx(limit, abs=0.1)  # of the bin that ends at 1
    assert min(left for left, _, _ in beyond) == pytest.approx(limit, abs=0.1)
    assert max(right for _, right, _ in beyond) <= found.width


def test_the_largest_bin_is_as_high_as_the_chart_and_one_value_is_seen() -> None:
    found = histogram(counted({-9: 1, -2: 100_000}))
    assert found is not None
    heights = [high for *_, high in columns(found.within)]
    assert max(heights) == HEIGHT
    assert 1 <= min(heights) < HEIGHT / 10


def test_values_without_an_error_stand_apart() -> None:
    found = histogram(TensorReport("y", "y", "Relu", histogram=(9,) + (0,) * (len(BINS) - 1)))
    assert found is not None
    assert (found.none, found.inside, found.outside) == (9, 0, 0)
    ((left, right, high),) = columns(found.within)
    assert left < right < found.start / 100 * found.width
    assert high == HEIGHT


def test_without_values_there_is_no_histogram() -> None:
    assert histogram(TensorReport("y", "y", "If")) is None
