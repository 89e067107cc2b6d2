"""Kernels and their neighbours: slopes, curvatures, and weights where a place is a little off."""

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT64
from parity.operators.interpolation import LINEAR, Kernel, Places, cubic, taps

KERNELS = {"linear": LINEAR, **{f"cubic, {a}": cubic(a) for a in (-0.75, -0.5, -3.0, 1.0)}}
every = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
ONE = Bounded(np.ones(1), None, FLOAT64)
STEP = 1e-4
BETWEEN = (np.arange(-3000, 3000) + 0.5) / 1000  # no kink is closer than five steps


def weight(kernel: Kernel, distance: np.ndarray) -> np.ndarray:
    made = kernel.weight(ONE.like(distance), None)
    assert isinstance(made, Bounded)
    return np.asarray(made.value)


@every
def test_slope_is_the_derivative(kernel: Kernel) -> None:
    rise = weight(kernel, BETWEEN + STEP) - weight(kernel, BETWEEN - STEP)
    np.testing.assert_allclose(kernel.slope(BETWEEN), rise / (2 * STEP), atol=1e-6)


@every
def test_curvature_is_the_largest_second_derivative(kernel: Kernel) -> None:
    bends = kernel.slope(BETWEEN + STEP) - kernel.slope(BETWEEN - STEP)
    assert np.abs(bends / (2 * STEP)).max() == pytest.approx(kernel.curvature, rel=2e-3)


@every
def test_slope_falls_at_no_distance_and_rises_by_half_at_one(kernel: Kernel) -> None:
    for place, jump in ((0, -kernel.jump), (1, kernel.jump / 2), (-1, kernel.jump / 2)):
        before, after = kernel.slope(np.array([place - 1e-9, place + 1e-9]))
        assert after - before == pytest.approx(jump, abs=1e-6)


@every
@pytest.mark.parametrize("stretch", [1.0, 1.5])
def test_weights_cover_places_that_are_a_little_off(kernel: Kernel, stretch: float) -> None:
    """Apart from their slopes: at kinks, which lie at whole distances, and between them."""
    value, off = np.array([4.0, 4.002, 4.3, 5.5, 6.999]), 0.005
    made = taps(ONE, Places(value, np.full(5, off), value), kernel, stretch, whole=False)
    assert isinstance(made.weights, Bounded)
    for moved in np.linspace(-off, off, 11):
        found = weight(kernel, (value[:, None] + moved - made.index) / stretch)
        apart = np.abs(found - made.weights.value - made.slopes * moved)
        assert (apart <= made.weights.bound + 1e-14).all()  # the slopes here are rounded, too
    far = off / stretch
    assert (made.weights.bound <= kernel.jump * far + 3 * kernel.curvature * far**2 + 1e-12).all()
