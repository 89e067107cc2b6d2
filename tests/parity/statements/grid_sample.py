"""Sampling at the places of a grid: sums over neighbours, of which some lie outside; and such a grid."""

from fractions import Fraction
from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import UNBOUNDED, At, Stated
from tests.parity.examples.example import Make
from tests.parity.statements.arrays import Statement, use
from tests.parity.statements.interpolation import HALF, TRIANGLE, Blend, Place, U, blends, keys, unit


def grid_sample(op: Any, x: Array, grid: Array) -> Array:
    """One axis after the other, at computed places; the first counts the roundings of all at once."""
    _, channels, *sizes = x.shape
    d, at = len(sizes), x.flat[0].at
    spots = list(np.ndindex(grid.shape[:-1]))
    places = [[_place(op, grid[(*one, d - 1 - k)], sizes[k]) for one in spots] for k in range(d)]
    far = [n for n in range(len(spots)) if any(axis[n][1] >= HALF for axis in places)]
    places = [[(place, min(off, HALF)) for place, off in axis] for axis in places]
    y = np.empty((len(spots), channels), object)
    if op.mode == "nearest":
        pick = [[_nearest(one) for one in axis] for axis in places]
        doubt = any(one != other for axis in pick for one, other in axis)
        for n, channel in np.ndindex(y.shape):
            y[n, channel] = _picked(op, x[spots[n][0], channel], [axis[n] for axis in pick], doubt)
    else:
        kernel = TRIANGLE if op.mode == "linear" else keys(-0.75)
        axes = [blends(one, kernel, at) for one in places]
        counts = [2**d - 1 + d if op.mode == "linear" else 4 * d, *[2 * kernel.reach] * (d - 1)]
        for n, channel in np.ndindex(y.shape):
            y[n, channel] = _sampled(op, x[spots[n][0], channel], [axis[n] for axis in axes], counts)
    for n in far:  # they may lie between any neighbours
        y[n] = [Stated(one.value, UNBOUNDED, at) for one in y[n]]
    return np.moveaxis(y.reshape(*grid.shape[:-1], channels), -1, 1)


def _sampled(op: Any, x: Array, axes: list[Blend], counts: list[int], *outer: int) -> Stated:
    """The last axis is summed over last."""
    if not axes:
        return _seen(op, x, outer[::-1])
    return axes[-1].of(lambda k: _sampled(op, x, axes[:-1], counts[:-1], *outer, k), counts[-1])


def _seen(op: Any, x: Array, index: tuple[int, ...]) -> Stated:
    """A neighbour: beyond the ends a zero, the value of the border, or that of a mirror image."""
    if op.padding_mode == "reflection":
        index = tuple(int(_mirrored(op, Fraction(k), n)) for k, n in zip(index, x.shape, strict=True))
    inside = tuple(min(max(k, 0), n - 1) for k, n in zip(index, x.shape, strict=True))
    return x.flat[0].at.constant(0.0) if op.padding_mode == "zeros" and inside != index else x[inside]


def _mirrored(op: Any, place: Fraction, size: int) -> Fraction:
    """The place, reflected by the borders -1 and 1 of the grid until it lies between them."""
    low, high = (
        (Fraction(0), Fraction(size - 1)) if op.align_corners else (Fraction(-1, 2), size - Fraction(1, 2))
    )
    while not low <= place <= high:
        place = 2 * (low if place < low else high) - place
    return place


def _place(op: Any, g: Stated, size: int) -> Place:
    """g·h + m, or (g + 1)·h − (h − m), each operation rounded, and then a distance.

    In mode linear the place itself is moved to the border, or reflected in three more operations and then
    moved there; all places beyond the border are one.
    """
    half, middle = Fraction(size - 1 if op.align_corners else size, 2), Fraction(size - 1, 2)
    exact, u = g.value * half + middle, _unit(op, g.at)
    off = abs(g.value) * half + 2 * abs(g.value + 1) * half + 2 * abs(exact) + 1
    off *= u * (1 + 4 * u)
    off += U * (abs(g.value) * half + 2 * abs(exact) + 1)
    if op.mode != "linear" or op.padding_mode == "zeros":
        return exact, off
    if op.padding_mode == "reflection":
        off += 3 * u * (abs(exact) + size)
        exact = _mirrored(op, exact, size)
    inside = min(max(exact, Fraction(0)), Fraction(size - 1))
    return inside, max(off - abs(exact - inside), Fraction(0))


def _unit(op: Any, at: At) -> Fraction:
    """Of the format of places: that of the values, or float32 in a form for values of 16 bits."""
    return unit(at) if op.in_float32 else Fraction(at.form.u)


def _nearest(place: Place) -> tuple[int, int]:
    """The nearest neighbour, and the one that is nearest to another place within the error."""
    where, off = place
    ways = {round(where - off), round(where + off)} - {round(where)}
    return round(where), max(ways, default=round(where))


def _picked(op: Any, x: Array, pairs: list[tuple[int, int]], doubt: bool) -> Stated:
    """One value; where some are open to doubt, no value is a plain copy."""
    one = _seen(op, x, tuple(pair[0] for pair in pairs))
    if not doubt:
        return one
    corners = [
        tuple(pair[(k >> axis) & 1] for axis, pair in enumerate(pairs)) for k in range(2 ** len(pairs))
    ]
    return s.one_of([_seen(op, x, corner).flushed() for corner in corners], one)


def affine_grid(op: Any, theta: Array, size: Array) -> Array:
    """theta times (x, y, 1), where x and y are computed as (2j + 1)/n − 1, or as 2j/(n − 1) − 1."""
    n, _, *out = size.tolist()
    at = theta.flat[0].at
    y = np.empty((n, *out, len(out)), object)

    def line(j: int, length: int) -> Stated:
        value = Fraction(2 * j, length - 1) - 1 if op.align_corners else Fraction(2 * j + 1, length) - 1
        u = _unit(op, at)
        terms = 4 if length * u > 1 else 3  # j is rounded, too
        return Stated(value, (u * (1 + 4 * u) + U) * (terms * (value + 1) + abs(value) + 2), at)

    for image, *place, k in np.ndindex(y.shape):
        lines = [line(j, length) for j, length in zip(place[::-1], out[::-1], strict=True)]
        y[(image, *place, k)] = s.dot(list(theta[image, k]), [*lines, at.exactly(1)])
    return y


STATEMENTS: dict[str, Statement] = {"GridSample": grid_sample, "AffineGrid": affine_grid}


def _grid(shape: tuple[int, ...], *grid: tuple[float, ...]) -> Make:
    """An image, and places on it counted from 0, (row, column), as a grid has them without align_corners."""

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        sizes = np.array(shape[2:])
        places = (2 * np.array(grid) + 1) / sizes - 1
        x = rng.standard_normal(shape)
        rows = places[:, ::-1].reshape(*(1,) * len(sizes), *places.shape)
        return [one.astype(np.float32) for one in (x, rows)]

    return make


# Places in the middle between neighbours, or nearly so; the last ones lie outside.
INSIDE = _grid((1, 1, 3, 3), (0.4, 1.3), (1.6, 0.7), (-0.4, 2.3))
OUTSIDE = _grid((1, 1, 3, 3), (0.4, 1.3), (-0.8, 1.6), (6.3, -1.7))
SMALL = [
    use("GridSample", make=INSIDE, data=(0,)),
    use("GridSample", make=INSIDE, data=(0,), align_corners=1),
    use("GridSample", make=OUTSIDE, data=(0,), padding_mode="border"),
    use("GridSample", make=OUTSIDE, data=(0,), padding_mode="reflection"),
    use("GridSample", make=OUTSIDE, data=(0,), padding_mode="reflection", align_corners=1),
    use("GridSample", make=INSIDE, data=(0,), mode="cubic"),
    use("GridSample", make=OUTSIDE, data=(0,), mode="cubic", padding_mode="border"),
    use("GridSample", make=OUTSIDE, data=(0,), mode="cubic", padding_mode="reflection"),
    use("GridSample", make=_grid((1, 1, 3, 3), (0.5, 1.2)), data=(0,), mode="nearest"),
    use("GridSample", make=_grid((1, 1, 2, 2, 2), (0.4, 0.7, 0.2), (0.3, 0.6, 1.3)), data=(0,)),
    use("GridSample", make=_grid((1, 1, 1, 50), (0.1, 0.3), (-0.2, 37.7)), data=(0,)),
    use("AffineGrid", (1, 2, 3), np.array([1, 1, 2, 3])),
    use("AffineGrid", (1, 2, 3), np.array([1, 1, 1, 300])),
    use("AffineGrid", (1, 3, 4), np.array([1, 1, 2, 2, 3]), align_corners=1),
]
