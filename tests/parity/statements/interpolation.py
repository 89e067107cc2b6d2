"""Weighted sums over the neighbours of a place that is computed: what resizing and sampling share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

import numpy as np

from parity.arithmetic import Array
from parity.arithmetic.floats import FLOAT32, FLOAT64, U64
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import At, Stated

U = Fraction(U64)
Place = tuple[Fraction, Fraction]  # where an output value lies on an axis, and how far off that may be
HALF = Fraction(1, 2)


def unit(at: At) -> Fraction:
    """Of the format of places: float64 beside float64, else float32."""
    return Fraction((FLOAT64 if at.form.name == "float64" else FLOAT32).u)


# --- weights -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel:
    """The weight of a neighbour by its distance.

    Attributes:
        reach: no weight from here on.
        weight: of a distance, which may be off by so much beside its own rounding.
        slope: the derivative; where there is none, the mean of those on both sides.
        bend: the largest second derivative.
        turn: by how much the slope falls at distance 0; it rises by half of that at distance 1.
    """

    reach: int
    weight: Callable[[Stated, Fraction], Stated]
    slope: Callable[[Fraction], Fraction]
    bend: Fraction
    turn: int


def _slope_of_triangle(distance: Fraction) -> Fraction:
    size = abs(distance)
    if size > 1 or size == 0:
        return Fraction(0)
    return (HALF if size == 1 else Fraction(1)) * (-1 if distance > 0 else 1)


TRIANGLE = Kernel(1, lambda d, off: s.maximum(1 - abs(d), 0.0), _slope_of_triangle, Fraction(0), 2)


def keys(a: float) -> Kernel:
    """Keys' cubic kernel: two polynomials, as Horner's rule evaluates them, and their derivatives."""
    b = Fraction(a)

    def piece(size: Fraction, x: Stated) -> Stated:
        if size <= 1:
            return (x * (a + 2) - (a + 3)) * x * x + 1
        if size < 2:
            return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a
        return x * 0.0

    def weight(distance: Stated, off: Fraction) -> Stated:
        """By the polynomial of either side, where it is open on which side a distance lies."""
        x = abs(distance)
        ways = [piece(x.value + way * off, x) for way in (-1, 1)]
        return s.one_of(ways, ways[0])

    def slope(distance: Fraction) -> Fraction:
        x, sign = abs(distance), 1 if distance > 0 else -1
        if x <= 1:
            return sign * (3 * (b + 2) * x**2 - 2 * (b + 3) * x)
        return sign * b * (3 * x**2 - 10 * x + 8) if x < 2 else Fraction(0)

    # Second derivatives at both ends of both pieces, between which they are linear.
    ends = [-2 * (b + 3), 6 * (b + 2) - 2 * (b + 3), b * (6 - 10), b * (12 - 10)]
    return Kernel(2, weight, slope, max(map(abs, ends)), 0)


@dataclass(frozen=True)
class Blend:
    """The neighbours of one place: their positions, their weights, and what they make of its error."""

    neighbours: list[int]
    weights: list[Stated]
    moves: list[tuple[list[Stated], Stated]]  # slopes, and how far the place is off

    def of(self, seen: Callable[[int], Stated], count: int) -> Stated:
        """Σ weight · neighbour, off by Σ slope · neighbour · error beside."""
        values = [seen(one) for one in self.neighbours]
        value = s.dot(values, self.weights, products=count)
        moved = [s.dot(values, slopes, products=count) * off for slopes, off in self.moves]
        return replace(value, error=value.error + sum((one.error for one in moved), Fraction(0)))


def constants(table: list[list[Fraction]], at: At) -> list[list[Stated]]:
    """Of a formula, each rounded to the format; none where all are its numbers."""
    exact = all(at.form.name == "float64" or at.holds(one) for row in table for one in row)
    return [[at.exactly(one) if exact else at.rounded(one) for one in row] for row in table]


def blends(
    places: list[Place],
    kernel: Kernel,
    at: At,
    stretch: Fraction = Fraction(1),
    inside: range | None = None,
    shares: bool = False,
) -> list[Blend]:
    """Of all places of an axis.

    Args:
        stretch: how much wider the kernel is.
        inside: neighbours beyond it have no weight; None where all have theirs.
        shares: whether weights are divided by their sum.
    """
    reach = ceil(kernel.reach * stretch)
    near = [list(range(floor(where) - reach, floor(where) + reach + 2)) for where, _ in places]
    apart = [[where - one for one in row] for row, (where, _) in zip(near, places, strict=True)]
    offs = [off / stretch for _, off in places]
    # The distances as float64 has them.
    measured = constants([[Fraction(float(one)) for one in row] for row in apart], at)
    weights, slopes, turns = [], [], []
    for distances, exact, off in zip(measured, apart, offs, strict=True):
        scaled = distances if stretch == 1 else [one * float(1 / stretch) for one in distances]
        sizes = [one / stretch for one in exact]
        kinks = [_kink(one, off) if kernel.turn else None for one in sizes]
        bends = [one if kink is None else kink for one, kink in zip(sizes, kinks, strict=True)]
        turn = [Fraction(0) if one is None else _turn(one, kernel.turn) for one in kinks]
        # What is left besides the slope: a turn, where each weight is used for itself, and the bend.
        left = [
            _bend(one, off, kernel) + shares * abs(way) * off for one, way in zip(sizes, turn, strict=True)
        ]
        row = [kernel.weight(one, off) for one in scaled]
        weights.append([replace(w, error=w.error + more) for w, more in zip(row, left, strict=True)])
        slopes.append([kernel.slope(one) / stretch for one in bends])
        turns.append([(1 - shares) * one for one in turn])
    if shares:
        for row, own, around in zip(weights, slopes, near, strict=True):
            _shared(row, own, [inside is None or one in inside for one in around])
    tables = [slopes, turns] if any(any(row) for row in turns) else [slopes]
    rounded = [constants(table, at) for table in tables if any(offs)]
    errors = [Stated(Fraction(0), off, at) for _, off in places]
    return [
        _used(near[k], weights[k], [(table[k], error) for table in rounded]) for k, error in enumerate(errors)
    ]


def _used(near: list[int], weights: list[Stated], moves: list[tuple[list[Stated], Stated]]) -> Blend:
    """Without the neighbours that have no weight, and get none if the place moves."""
    used = [n for n, w in enumerate(weights) if w.value or w.error or any(row[n].value for row, _ in moves)]
    some = [([row[n] for n in used], off) for row, off in moves]
    return Blend([near[n] for n in used], [weights[n] for n in used], some)


def _kink(distance: Fraction, off: Fraction) -> Fraction | None:
    """The distance where the slope turns, if it may be reached."""
    kinks = [Fraction(k) for k in (-1, 0, 1) if off and abs(distance - k) <= off]
    return kinks[0] if kinks else None


def _turn(kink: Fraction, turn: int) -> Fraction:
    """How far the slopes on both sides are from their mean, which is half of their difference."""
    return Fraction(turn, 4) if kink else -Fraction(turn, 2)


def _bend(distance: Fraction, off: Fraction, kernel: Kernel) -> Fraction:
    """What the second derivative adds to a slope."""
    return kernel.bend * off**2 / 2 if abs(distance) <= kernel.reach + off else Fraction(0)


def _shared(weights: list[Stated], slopes: list[Fraction], inside: list[bool]) -> None:
    """Divide weights by their sum, in place; and their slopes, as those of a quotient are."""
    nothing = weights[0].at.exactly(0)
    some = [w if there else nothing for w, there in zip(weights, inside, strict=True)]
    own = [x if there else Fraction(0) for x, there in zip(slopes, inside, strict=True)]
    whole = s.total(some)
    weights[:] = [w / whole for w in some]
    slopes[:] = [(x - w.value * sum(own)) / whole.value for x, w in zip(own, weights, strict=True)]


def along(x: Array, axis: int, each: list[Blend], count: int) -> Array:
    """Along one axis; beyond its ends, the end values repeat."""
    lines = np.moveaxis(x, axis, -1)
    y = np.empty((*lines.shape[:-1], len(each)), object)
    for index in np.ndindex(y.shape):
        line = lines[index[:-1]]

        def seen(place: int, line: Array = line) -> Stated:
            return line[min(max(place, 0), len(line) - 1)]

        y[index] = each[index[-1]].of(seen, count)
    return np.moveaxis(y, -1, axis)
