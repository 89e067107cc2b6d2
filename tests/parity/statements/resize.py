"""Interpolation: sums over neighbours, with weights of places that an implementation computes in float32."""

from collections.abc import Callable
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.arithmetic.floats import FLOAT32, FLOAT64, U64
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import At, Stated
from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Statement, use

U = Fraction(U64)
Place = tuple[Fraction, Fraction]  # where an output value lies on an axis, and how far off that may be
Weight = Callable[[Stated], Stated]


def unit(at: At) -> Fraction:
    """Of the format of places: float64 beside float64, else float32."""
    return Fraction((FLOAT64 if at.form.name == "float64" else FLOAT32).u)


def triangle(distance: Stated) -> Stated:
    return s.maximum(1 - abs(distance), 0.0)


def keys(a: float) -> Weight:
    """Keys' cubic kernel: two polynomials, as Horner's rule evaluates them."""

    def weight(distance: Stated) -> Stated:
        x = abs(distance)
        if x.value <= 1:
            return (x * (a + 2) - (a + 3)) * x * x + 1
        if x.value < 2:
            return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a
        return x * 0.0

    return weight


def at_place(
    place: Place, seen: Callable[[int], Stated], kernel: Weight, reach: int, count: int, moves: bool = False
) -> Stated:
    """The value at a place: Σ weight · neighbour, and what the slope makes of the place's own error.

    Args:
        moves: whether another place of the axis is off, if this one is not.
    """
    where, off = place
    lowest = floor(where) - reach
    neighbours = range(lowest, lowest + 2 * reach + 2)
    values = [seen(one) for one in neighbours]
    at = values[0].at
    weights = [kernel(_distance(float(where - one), at, moves or bool(off))) for one in neighbours]
    value = s.dot(values, weights, products=count)
    if not moves and not off:
        return value
    slopes = [_slope(where - one) for one in neighbours]
    if off:
        assert all(abs(abs(where - one) - kink) > off for one in neighbours for kink in (0, 1)), "a kink"
    moved = s.dot(values, [at.constant(one) for one in slopes], products=count)
    return value + moved * Stated(Fraction(0), off, at)


def _distance(distance: float, at: At, moves: bool) -> Stated:
    """As float64 has it. That of a place which is off is rounded, even if this one needs no rounding."""
    if not moves or at.form.name == "float64":
        return at.constant(distance)
    return at.rounded(Fraction(distance))


def _slope(distance: Fraction) -> Fraction:
    """Of the triangle."""
    if not 0 < abs(distance) < 1:
        return Fraction(0)
    return Fraction(-1 if distance > 0 else 1)


def resized(x: Array, axis: int, places: list[Place], kernel: Weight, reach: int, count: int) -> Array:
    """Along one axis; beyond its ends, the end values repeat."""
    lines = np.moveaxis(x, axis, -1)
    y = np.empty((*lines.shape[:-1], len(places)), object)
    for index in np.ndindex(y.shape):
        line = lines[index[:-1]]

        def seen(place: int, line: Array = line) -> Stated:
            return line[min(max(place, 0), len(line) - 1)]

        y[index] = at_place(places[index[-1]], seen, kernel, reach, count)
    return np.moveaxis(y, -1, axis)


def half_pixel(before: int, after: int, at: At) -> list[Place]:
    """(j + 1/2)·n/m − 1/2, in up to four roundings, and one of the result; exact for a factor of two."""
    places = []
    for j in range(after):
        base = (j + Fraction(1, 2)) * before / after
        exact = base - Fraction(1, 2)
        u = unit(at)
        off = u * (4 * base + abs(exact)) * (1 + 8 * u) + u + 4 * U * (abs(exact) + 1)
        places.append((exact, Fraction(0) if after == 2 * before else off))
    return places


def resize(op: Any, x: Array, roi: None, scales: Array | None, sizes: Array | None = None) -> Array:
    """Linear or cubic, one axis after the other; the first counts the roundings of all."""
    at = x.flat[0].at
    factors = None if scales is None else [one.value for one in scales]
    after = sizes.tolist() if factors is None else [int(n * f) for n, f in zip(x.shape, factors, strict=True)]  # type: ignore[union-attr]
    kernel, reach = (triangle, 1) if op.mode == "linear" else (keys(op.cubic_coeff_a), 2)
    changed = [axis for axis in range(x.ndim) if x.shape[axis] != after[axis]]
    at_once = 2 ** len(changed) - 1 + len(changed) if op.mode == "linear" else 0
    first = max(at_once, 2 * reach * len(changed)) if len(changed) > 1 else 2 * reach
    for k, axis in enumerate(changed):
        places = half_pixel(x.shape[axis], after[axis], at)
        x = resized(x, axis, places, kernel, reach, 2 * reach if k else first)
    return x


def upsample(op: Any, x: Array, scales: Array) -> Array:
    """Output j lies at j / scale, exactly for a power of two."""
    changed = [axis for axis in range(x.ndim) if scales[axis].value != 1]
    for k, axis in enumerate(changed):
        factor = scales[axis].value
        places = [(j / factor, Fraction(0)) for j in range(int(x.shape[axis] * factor))]
        count = 2 if k or len(changed) == 1 else max(2 ** len(changed) - 1 + len(changed), 2 * len(changed))
        x = resized(x, axis, places, triangle, 1, count)
    return x


def grid_sample(op: Any, x: Array, grid: Array) -> Array:
    """Both axes at computed places; the first counts the roundings of all at once.

    Outside there are zeros, or the values of the border.
    """
    images, channels, *sizes = x.shape
    y = np.empty((images, channels, *grid.shape[1:3]), object)
    border = op.padding_mode == "border"
    place = {
        (*at, k): _place(grid[(*at, 1 - k)], sizes[k], bool(op.align_corners), border)
        for *at, k in np.ndindex(grid.shape)
    }
    moves = [any(place[one][1] for one in place if one[-1] == k) for k in range(2)]
    for image, channel, *out in np.ndindex(y.shape):

        def value(i: int, j: int, image: int = image, channel: int = channel) -> Stated:
            row, column = min(max(i, 0), sizes[0] - 1), min(max(j, 0), sizes[1] - 1)
            inside = border or (row, column) == (i, j)
            return x[image, channel, row, column] if inside else x.flat[0].at.constant(0.0)

        def down(j: int, row: Place = place[image, *out, 0], value: Callable[..., Stated] = value) -> Stated:
            return at_place(row, lambda i: value(i, j), triangle, 1, 2**2 - 1 + 2, moves[0])

        y[(image, channel, *out)] = at_place(place[image, *out, 1], down, triangle, 1, 2, moves[1])
    return y


def _place(g: Stated, size: int, align: bool, border: bool) -> Place:
    """g·h + m, or (g + 1)·h − (h − m), each operation rounded, and then a distance. At the border all places
    beyond it are one."""
    half, middle = Fraction(size - 1 if align else size, 2), Fraction(size - 1, 2)
    exact, u = g.value * half + middle, unit(g.at)
    off = u * (abs(g.value) * half + 2 * abs(g.value + 1) * half + 2 * abs(exact) + 1)
    off += U * (abs(g.value) * half + 2 * abs(exact) + 1)
    inside = min(max(exact, Fraction(0)), Fraction(size - 1)) if border else exact
    return inside, max(off - abs(exact - inside), Fraction(0))


def affine_grid(op: Any, theta: Array, size: Array) -> Array:
    """theta times (x, y, 1), where x and y are computed as (2j + 1)/n − 1."""
    n, _, height, width = size.tolist()
    at = theta.flat[0].at
    y = np.empty((n, height, width, 2), object)

    def line(j: int, length: int) -> Stated:
        value = Fraction(2 * j + 1, length) - 1
        return Stated(value, (unit(at) + U) * (3 * (value + 1) + abs(value) + 2), at)

    for image, i, j, k in np.ndindex(y.shape):
        y[image, i, j, k] = s.dot(list(theta[image, k]), [line(j, width), line(i, height), at.exactly(1)])
    return y


STATEMENTS: dict[str, Statement] = {
    "Resize": resize,
    "Upsample": upsample,
    "GridSample": grid_sample,
    "AffineGrid": affine_grid,
}


def _resize(
    shape: tuple[int, ...], scales: list[float] | None, sizes: list[int] | None, **more: Any
) -> Example:
    rest = [
        None if scales is None else np.array(scales, np.float32),
        None if sizes is None else np.array(sizes),
    ]
    return use("Resize", shape, None, *rest, **more)


def _grid(rng: np.random.Generator) -> list[np.ndarray | None]:
    """Places in the middle between neighbours, or nearly so."""
    x = rng.standard_normal((1, 1, 3, 3))
    grid = (rng.integers(0, 3, (1, 2, 2, 2)) + rng.uniform(0.3, 0.7, (1, 2, 2, 2))) * 2 / 3 - 1
    return [one.astype(np.float32) for one in (x, grid - 1 / 3)]


SMALL: list[Example] = [
    _resize((1, 1, 4), [1, 1, 2], None, mode="linear"),
    _resize((1, 1, 2, 3), [1, 1, 2, 2], None, mode="linear"),
    _resize((1, 1, 4), None, [1, 1, 3], mode="linear"),
    _resize((1, 1, 4), [1, 1, 2], None, mode="cubic"),
    use("Upsample", (1, 1, 2, 2), np.array([1, 1, 2, 2], np.float32), mode="linear"),
    use("GridSample", make=_grid, data=(0,)),
    use("GridSample", make=_grid, data=(0,), align_corners=1),
    use("GridSample", make=_grid, data=(0,), padding_mode="border"),
    use("AffineGrid", (1, 2, 3), np.array([1, 1, 2, 3])),
]
