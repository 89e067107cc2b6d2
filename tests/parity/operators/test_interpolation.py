"""Kernels and their neighbours: slopes, curvatures, and weights where a place is a little off."""

import numpy as np
import pytest

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FLOAT64, U64, gamma
from parity.operators.interpolation import LINEAR, Kernel, Places, cubic, taps

# Kernels, each with its largest third derivative: 6 |a + 2| or 6 |a| of a cubic one.
KERNELS = {
    "linear": (LINEAR, 0.0),
    **{f"cubic, {a}": (cubic(a), 6 * max(abs(a + 2), abs(a))) for a in (-0.75, -0.5, -3.0, 1.0)},
}
every = pytest.mark.parametrize(("kernel", "third"), KERNELS.values(), ids=KERNELS)
ONE = Bounded(np.ones(1), None, FLOAT64)
STEP, NEAR = 2.0**-13, 2.0**-30
BETWEEN = (np.arange(-3072, 3072) + 0.5) / 1024  # exact, as a step to either side is
GAP = 2.0**-11  # from a kink to the nearest of these: four steps
# The terms of a slope add up to at most 3 (3 · 4 + 10 · 2 + 8) for these a and distances up to 2, those of a
# weight to 3 (8 + 5 · 4 + 8 · 2 + 4). Each rounds less than 16 times.
SLOPE, WEIGHT = (gamma(16, U64) * size for size in (120.0, 144.0))


def weight(kernel: Kernel, distance: Array) -> Bounded:
    made = kernel.weight(ONE.like(distance), None)
    assert isinstance(made, Bounded)
    return made


@every
def test_slope_is_the_derivative(kernel: Kernel, third: float) -> None:
    """The mean rise of a cubic over a step to both sides is off by a sixth of its third derivative."""
    up, down = (weight(kernel, BETWEEN + step) for step in (STEP, -STEP))
    room = third * STEP**2 / 6 + WEIGHT / STEP + SLOPE
    assert (np.abs(kernel.slope(BETWEEN) - (up.value - down.value) / (2 * STEP)) <= room).all()


@every
def test_curvature_is_the_largest_second_derivative(kernel: Kernel, third: float) -> None:
    """It is largest at a kink, or next to it."""
    bends = kernel.slope(BETWEEN + STEP) - kernel.slope(BETWEEN - STEP)
    largest = np.abs(bends).max() / (2 * STEP)
    assert kernel.curvature - third * GAP - SLOPE / STEP <= largest <= kernel.curvature + SLOPE / STEP


@every
def test_slope_falls_at_no_distance_and_rises_by_half_at_one(kernel: Kernel, third: float) -> None:
    for place, jump in ((0, -kernel.jump), (1, kernel.jump / 2), (-1, kernel.jump / 2)):
        before, after = kernel.slope(np.array([place - NEAR, place + NEAR]))
        assert abs(after - before - jump) <= 2 * (kernel.curvature * NEAR + SLOPE)


@every
@pytest.mark.parametrize("stretch", [1.0, 1.5])
def test_weights_cover_places_that_are_a_little_off(kernel: Kernel, third: float, stretch: float) -> None:
    """Apart from their slopes: at kinks, which lie at whole distances, and between them."""
    value, off = np.array([4.0, 4 + 2.0**-9, 4.25, 5.5, 7 - 2.0**-10]), 2.0**-8
    made = taps(ONE, Places(value, np.full(5, off), value), kernel, stretch, whole=False)
    assert isinstance(made.weights, Bounded)
    for moved in np.linspace(-off, off, 17):
        found = weight(kernel, (value[:, None] + moved - made.index) / stretch)
        apart = np.abs(found.value - made.weights.value - made.slopes * moved)
        assert (apart <= made.weights.bound + WEIGHT + SLOPE * off).all()
    far = off / stretch
    assert (made.weights.bound <= kernel.jump * far + 3 * kernel.curvature * far**2 + 4 * WEIGHT).all()
