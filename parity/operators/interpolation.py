"""Interpolation between the neighbours of a place on an axis: what Resize and GridSample have in common.

Implementations compute the place c of each output value in float32, so it has an error δ, which grows
with c. Each weight then has an error of δ too, but these errors depend on each other: all weights change
together, and the value changes by δ times its slope, which is small where neighbours have similar values.
The formulas here therefore use the weights at the exact place and add the slope times δ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from parity.arithmetic import Array, Bounded, Integers, Looped, Number
from parity.arithmetic.floats import cover
from parity.arithmetic.number import Move

BLOCK = 64  # output places that share one dense matrix of weights


@dataclass(frozen=True)
class Places:
    """Where M output values lie on one axis of the input, counted from its first value.

    Attributes:
        value: (M,), the exact places in float64.
        error: (M,), how far an implementation's place may be from the exact one.
        plain: (M,), the places that a plain loop computes.
    """

    value: Array
    error: Array
    plain: Array

    def of(self, x: Number) -> Array:
        """The places that x's arithmetic computes."""
        return self.plain.astype(np.float64) if isinstance(x, Looped) else self.value

    def uncertainty(self, x: Number) -> Array | None:
        """The errors; None if all are zero, or if x's arithmetic does not count errors."""
        return None if isinstance(x, Looped) or not self.error.any() else self.error


@dataclass(frozen=True)
class Kernel:
    """The weight of a neighbour as a function of its distance.

    Attributes:
        reach: the distance from which on the weight is zero.
        weight: the function. Its arguments are the distance and the error of the distance, if any.
        slope: the derivative of the weight.
        curvature: the largest |second derivative|, apart from kinks.
        jump: by how much the derivative falls at distance 0; at distance 1 it rises by half of that.
    """

    reach: int
    weight: Callable[[Number, Array | None], Number]
    slope: Callable[[Array], Array]
    curvature: float
    jump: float


def _triangle(distance: Number, off: Array | None) -> Number:
    return (1 - abs(distance)).maximum(0.0)


def _triangle_slope(s: Array) -> Array:
    """The slope; at a kink, the mean of the slopes on both sides, which is equally far from both."""
    return -np.sign(s) * np.where(abs(s) < 1, 1.0, np.where(abs(s) == 1, 0.5, 0.0))


LINEAR = Kernel(1, _triangle, _triangle_slope, 0.0, 2.0)


def cubic(a: float) -> Kernel:
    """Keys' cubic convolution (R. Keys, 1981, equation 4); a is -0.75 in PyTorch, -0.5 in Pillow."""

    def weight(distance: Number, off: Array | None) -> Number:
        """The weight. At distances 1 and 2 the pieces agree, but round differently: the bound covers both."""
        s = abs(distance)
        near = (s * (a + 2) - (a + 3)) * s * s + 1
        far = ((s * a - 5 * a) * s + 8 * a) * s - 4 * a
        size, pieces = own(s), (near, far, s * 0.0)
        if off is None:
            return choose(_piece(size), *pieces)
        return choose(_piece(size - off), *pieces).either(choose(_piece(size + off), *pieces))

    def slope(distance: Array) -> Array:
        s = np.abs(distance)
        near = (3 * (a + 2) * s - 2 * (a + 3)) * s
        far = (3 * a * s - 10 * a) * s + 8 * a
        return np.sign(distance) * np.where(s <= 1, near, np.where(s < 2, far, 0.0))

    curvature = max(abs(2 * (a + 3)), abs(4 * a + 6), abs(4 * a))
    return Kernel(2, weight, slope, curvature, 0.0)


def _piece(size: Array) -> Array:
    """The number of the piece of the cubic kernel that applies at this distance."""
    return np.where(size <= 1, 0, np.where(size < 2, 1, 2))


@dataclass(frozen=True)
class Taps:
    """The neighbours that each of M output values is computed from, and their weights.

    Attributes:
        index: (M, T), positions of the neighbours; some lie outside the axis.
        weights: (M, T).
        slopes: (M, T), derivatives of the weights with respect to the place.
        error: (M,), the error of the place; None if there is none.
        turns: (M, T), how the slopes change if a place may lie beyond a kink; None if no place may.
        products: number of products that the bound of a sum over the neighbours counts.
    """

    index: Array
    weights: Number
    slopes: Array
    error: Array | None
    turns: Array | None
    products: int

    def at(self, rows: Array) -> "Taps":
        """The neighbours of some of the output values."""
        error = None if self.error is None else self.error[rows]
        weights = self.weights.move(lambda a: a[rows])
        turns = None if self.turns is None else self.turns[rows]
        return Taps(self.index[rows], weights, self.slopes[rows], error, turns, self.products)

    def contract(self, seen: Number) -> Number:
        """Interpolate (M, K, T), K sets of neighbours of each output value, to (M, K)."""
        column = self.weights.move(lambda a: a[:, :, None])
        error = None if self.error is None else self.error[:, None, None]
        return self._sum(seen, column, lambda a: a[:, :, None], error).move(lambda a: a[:, :, 0])

    def along(self, x: Number) -> Number:
        """Interpolate (..., n) along the last axis to (..., M); beyond its ends, the end values repeat."""
        size, lead = x.shape[-1], x.shape[:-1]
        before, after = max(0, -int(self.index.min())), max(0, int(self.index.max()) - size + 1)
        rows = x.wide().move(lambda a: np.pad(a.reshape(-1, size), ((0, 0), (before, after)), "edge"))
        parts = []
        for start in range(0, len(self.index), BLOCK):
            few = self.at(np.arange(start, min(start + BLOCK, len(self.index))))
            low, high = int(few.index.min()), int(few.index.max()) + 1
            part = rows.move(lambda a, low=low, high=high: a[:, low + before : high + before])  # type: ignore[misc]
            parts.append(few._dense(part, low, high))
        whole = parts[0].join(parts[1:], -1) if len(parts) > 1 else parts[0]
        return whole.reshape(*lead, len(self.index))

    def _dense(self, x: Number, low: int, high: int) -> Number:
        place = (self.index - low, np.arange(len(self.index))[:, None])

        def spread(a: Array) -> Array:
            dense = np.zeros((high - low, len(self.index)), a.dtype)
            dense[place] = a
            return dense

        return self._sum(x, self.weights.move(spread), spread, self.error)

    def _sum(self, seen: Number, weights: Number, laid_out: Move, error: Array | None) -> Number:
        value = seen.dot(weights, products=self.products)
        if error is None:
            return value
        off = seen.like(np.zeros(error.shape), error)
        for slopes in (self.slopes, self.turns):
            if slopes is not None:
                value = _wider(value, seen.dot(seen.like(laid_out(slopes)), products=self.products) * off)
        return value


def _wider(x: Number, by: Number) -> Number:
    """x with the error of another number as well. It is no sum, which would round."""
    assert isinstance(x, Bounded)
    assert isinstance(by, Bounded)
    return Bounded(x.value, (x.bound + by.bound) * cover(1), x.format)


def taps(
    x: Number,
    places: Places,
    kernel: Kernel,
    stretch: float = 1.0,
    products: int | None = None,
    whole: bool = True,
) -> Taps:
    """The neighbours of these places, weighted by a kernel.

    Args:
        x: the values to interpolate; the weights are in the same arithmetic.
        places: where the output values lie.
        kernel: gives the weight of each neighbour.
        stretch: factor that makes the kernel wider, so that downscaling averages over values in between.
        products: number of products that the bound of a sum counts; by default those of the kernel.
        whole: whether the weights are used as they are, so that they change together at a kink.
    """
    reach = ceil(kernel.reach * stretch)
    place, error, turns = places.of(x), places.uncertainty(x), None
    index = np.floor(place).astype(np.int64)[:, None] + np.arange(-reach, reach + 2)
    distance = place[:, None] - index
    scaled = x.like(distance) if stretch == 1 else x.like(distance) * (1 / stretch)
    weights = kernel.weight(scaled, None if error is None else error[:, None] / stretch)
    at = distance / stretch
    if error is not None:
        off, size = error[:, None] / stretch, np.abs(at)
        extra = kernel.curvature / 2 * off**2 * (size <= kernel.reach + off)
        if kernel.jump:
            kink = (off > 0) & (np.abs(size - np.rint(size)) <= off) & (size <= kernel.reach + off)
            # The slopes on both sides of a kink are the mean of both, plus or minus half of the jump.
            at = np.where(kink, np.copysign(np.rint(size), at), at)
            turn = np.where(kink, np.where(np.rint(size) == 0, -kernel.jump / 2, kernel.jump / 4), 0.0)
            if whole and stretch == 1:
                turns = turn if kink.any() else None
            else:
                extra = extra + np.abs(turn) * off
        if extra.any():
            weights = _wider(weights, x.like(np.zeros(extra.shape), extra))
    slopes = kernel.slope(at) / stretch
    # Of so many neighbours the weights are not zero; one more where the width of the kernel is rounded.
    count = 2 * reach if stretch == 1 else floor(2 * kernel.reach * stretch) + 1
    return Taps(index, weights, slopes, error, turns, count if products is None else products)


def normalised(taps: Taps, size: int, exclude_outside: bool) -> Taps:
    """The taps with weights divided by their sum; weights outside an axis of this size can be left out first.

    The taps must come from `taps` with `whole` false.
    """
    inside = (taps.index >= 0) & (taps.index < size) if exclude_outside else np.ones(taps.index.shape, bool)
    weights = taps.weights.move(lambda a: np.where(inside, a, 0))
    slopes = np.where(inside, taps.slopes, 0.0)
    total = weights.sum((1,))
    weights = weights / total
    slopes = (slopes - own(weights) * slopes.sum(1, keepdims=True)) / own(total)
    return Taps(taps.index, weights, slopes, taps.error, None, taps.products)


def choose(which: Array, *options: Number) -> Number:
    """Each value from the option with the number in `which`; all options have the shape of `which`."""
    stacked = [one.move(lambda a: a[None]) for one in options]
    joined = stacked[0].join(stacked[1:], 0)
    return joined.move(lambda a: np.take_along_axis(a, which[None], 0)[0])


def own(x: Number) -> Array:
    """The computed values of x, with which a formula decides between cases."""
    if isinstance(x, Integers):
        return np.ldexp(x.units.astype(np.float64), x.exponent)
    return x.value  # type: ignore[attr-defined]


def gathered(x: Number, index: Sequence[Array]) -> Number:
    """x at index arrays, one for each axis."""
    return x.move(lambda a: a[tuple(index)])
