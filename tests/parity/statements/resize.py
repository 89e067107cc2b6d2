"""Changes of size: sums over neighbours, or the nearest one, of places that an implementation computes."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.arithmetic.floats import FLOAT32, FLOAT64
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import At
from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Statement, each, use
from tests.parity.statements.interpolation import HALF, TRIANGLE, Place, U, along, blends, keys, unit


@dataclass(frozen=True)
class Axis:
    """What becomes of an axis: its length, and the scale and the part of it that its places are made with."""

    number: int
    before: int
    after: int
    scale: Fraction
    start: Fraction = Fraction(0)
    end: Fraction = Fraction(1)

    @property
    def changes(self) -> bool:
        whole = self.start == 0 and self.end == 1
        return not (whole and self.before == self.after and self.scale == 1)


# --- places ------------------------------------------------------------------------------------

# Of an axis and of output j: the place, all numbers that are rounded on the way to it, added up, and the
# numbers on the way. Where the format has all of these, for all j, nothing rounds.
Steps = tuple[Fraction, Fraction, list[Fraction]]


def _scaled(axis: Axis, j: int, before: Fraction, after: Fraction) -> Steps:
    """(j + before)/s + after: the scale may be a rounded quotient, a reciprocal and a product follow, or each
    quotient is computed as a product with a reciprocal."""
    base = (j + before) / axis.scale
    return base + after, 4 * base + abs(base + after), [1 / axis.scale, base, base + after]


def half_pixel(axis: Axis, j: int) -> Steps:
    return _scaled(axis, j, HALF, -HALF)


def pytorch_half_pixel(axis: Axis, j: int) -> Steps:
    return half_pixel(axis, j) if axis.after > 1 else (Fraction(0), Fraction(0), [])


def asymmetric(axis: Axis, j: int) -> Steps:
    return _scaled(axis, j, Fraction(0), Fraction(0))


def tf_half_pixel_for_nn(axis: Axis, j: int) -> Steps:
    return _scaled(axis, j, HALF, Fraction(0))


def half_pixel_symmetric(axis: Axis, j: int) -> Steps:
    """Moved by n/2 (1 − m/(n·s)): the quotient rounds four times, the difference and its product once each,
    and so does the sum with what half_pixel starts from."""
    adjustment = axis.after / (axis.before * axis.scale)
    offset = Fraction(axis.before, 2) * (1 - adjustment)
    place, roundings, numbers = _scaled(axis, j, HALF, offset - HALF)
    of_offset = 4 * Fraction(axis.before, 2) * adjustment + 2 * abs(offset) + abs(place + HALF)
    return (
        place,
        roundings + of_offset,
        [*numbers, axis.before * axis.scale, adjustment, offset, place + HALF],
    )


def align_corners(axis: Axis, j: int) -> Steps:
    """j (n − 1)/(m − 1), with a reciprocal and two products."""
    step = Fraction(axis.before - 1, max(axis.after - 1, 1))
    return j * step, 3 * j * step, [step, j * step]


def tf_crop_and_resize(axis: Axis, j: int) -> Steps:
    """start (n − 1) + j (end − start)(n − 1)/(m − 1); of a single value, the middle."""
    last = axis.before - 1
    if axis.after == 1:
        middle = (axis.start + axis.end) / 2 * last
        return middle, 2 * abs(middle), [middle]
    first, span = axis.start * last, axis.end - axis.start
    steps = j * span * last / (axis.after - 1)
    numbers = [first, span, j * span, j * span * last, steps, first + steps, span * last / (axis.after - 1)]
    return first + steps, 5 * abs(steps) + abs(first) + abs(first + steps), numbers


MODES: dict[str, Callable[[Axis, int], Steps]] = {
    one.__name__: one
    for one in (
        half_pixel,
        pytorch_half_pixel,
        asymmetric,
        tf_half_pixel_for_nn,
        half_pixel_symmetric,
        align_corners,
        tf_crop_and_resize,
    )
}


def places_on(mode: str, axis: Axis, at: At) -> list[Place]:
    """With the rounding of a distance beside that of the place."""
    form = At(FLOAT64 if at.form.name == "float64" else FLOAT32)
    steps = [MODES[mode](axis, j) for j in range(axis.after)]
    if all(form.holds(number) for *_, numbers in steps for number in numbers):
        return [(place, Fraction(0)) for place, *_ in steps]
    u, most = unit(at), axis.before if mode == "half_pixel_symmetric" else 1
    return [
        (place, u * roundings * (1 + 8 * u) + u + 4 * U * (abs(place) + most))
        for place, roundings, _ in steps
    ]


# --- values ------------------------------------------------------------------------------------

ROUNDS: dict[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda place: -floor(HALF - place),
    "round_prefer_ceil": lambda place: floor(place + HALF),
    "floor": floor,
    "ceil": lambda place: -floor(-place),
}


def axes_of(op: Any, x: Array, roi: Array | None, scales: Array | None, sizes: Array | None) -> list[Axis]:
    numbers = [axis % x.ndim for axis in op.axes] or list(range(x.ndim))
    lengths = [x.shape[axis] for axis in numbers]
    if scales is not None:
        factors = [one.value for one in scales]
        after = [floor(n * factor) for n, factor in zip(lengths, factors, strict=True)]
    else:
        assert sizes is not None
        after = sizes.tolist()
        factors = [Fraction(m, n) for m, n in zip(after, lengths, strict=True)]
        if op.keep_aspect_ratio_policy != "stretch":
            one = (min if op.keep_aspect_ratio_policy == "not_larger" else max)(factors)
            after, factors = [floor(one * n + HALF) for n in lengths], [one] * len(lengths)
    ends = [one.value for one in roi] if roi is not None else [Fraction(k) for k in (0, 1) for _ in numbers]
    halves = ends[: len(numbers)], ends[len(numbers) :]
    return [Axis(*one) for one in zip(numbers, lengths, after, factors, *halves, strict=True)]


def resize(op: Any, x: Array, roi: Any = None, scales: Any = None, sizes: Any = None) -> Array:
    """One axis after the other; the first counts the roundings of all."""
    at, mode = x.flat[0].at, op.coordinate_transformation_mode
    roi = roi if mode == "tf_crop_and_resize" else None
    changed = [one for one in axes_of(op, x, roi, scales, sizes) if one.changes]
    if op.mode == "nearest":
        for one in changed:
            x = _nearest(op, x, one)
        return _filled(op, x, changed)
    kernel = TRIANGLE if op.mode == "linear" else keys(op.cubic_coeff_a)
    stretches = [max(Fraction(1), 1 / one.scale) if op.antialias else Fraction(1) for one in changed]
    # So many neighbours lie inside the kernel; one more, if its width is rounded.
    counts = [floor(2 * kernel.reach * one) + (one > 1) for one in stretches]
    if len(counts) > 1:
        d = len(counts)
        counts[0] = max(sum(counts), 2**d - 1 + d if op.mode == "linear" and not op.antialias else 0)
    for one, stretch, count in zip(changed, stretches, counts, strict=True):
        inside = range(one.before) if op.exclude_outside else None
        shares = bool(op.antialias or op.exclude_outside)
        blend = blends(places_on(mode, one, at), kernel, at, stretch, inside, shares)
        x = along(x, one.number, blend, count)
    return _filled(op, x, changed)


def _nearest(op: Any, x: Array, axis: Axis) -> Array:
    """Copies, or either of two where float32 rounds the place to one that has another neighbour."""
    mode, rounds = op.coordinate_transformation_mode, ROUNDS[op.nearest_mode]
    lines = np.moveaxis(x, axis.number, -1)
    places = [MODES[mode](axis, j)[0] for j in range(axis.after)]
    ways = [_in_format(mode, axis, j, x.flat[0].at) for j in range(axis.after)]
    pairs = [
        [min(max(rounds(one), 0), axis.before - 1) for one in pair] for pair in zip(places, ways, strict=True)
    ]
    doubt = any(one != other for one, other in pairs)
    y = np.empty((*lines.shape[:-1], axis.after), object)
    for *index, j in np.ndindex(y.shape):
        one, other = (lines[(*index, place)] for place in pairs[j])
        y[(*index, j)] = s.one_of([one.flushed(), other.flushed()], one) if doubt else one
    return np.moveaxis(y, -1, axis.number)


def _in_format(mode: str, axis: Axis, j: int, at: At) -> Fraction:
    """The place that float32 has for j/s, or float64 beside float64; for other modes the exact one."""
    if mode != "asymmetric":
        return MODES[mode](axis, j)[0]
    form = np.float64 if at.form.name == "float64" else np.float32
    return Fraction(float(form(j) / form(float(axis.scale))))


def _filled(op: Any, y: Array, axes: list[Axis]) -> Array:
    """Outside of the image, tf_crop_and_resize has one value."""
    if op.coordinate_transformation_mode != "tf_crop_and_resize":
        return y
    fill = y.flat[0].at.constant(float(np.float32(op.extrapolation_value)))
    outside = np.zeros(y.shape, bool)
    for axis in axes:
        places = [tf_crop_and_resize(axis, j)[0] for j in range(axis.after)]
        beyond = np.array([not 0 <= one <= axis.before - 1 for one in places])
        outside |= np.moveaxis(
            np.broadcast_to(beyond, np.moveaxis(y, axis.number, -1).shape), -1, axis.number
        )
    return each(lambda one, out: fill if out else one, y, outside)


def upsample(op: Any, x: Array, scales: Array | None = None) -> Array:
    """Output j lies at j / scale."""
    factors = [Fraction(one) for one in op.scales] if scales is None else [one.value for one in scales]
    changed = [axis for axis in range(x.ndim) if factors[axis] != 1]
    d = len(changed)
    for k, number in enumerate(changed):
        axis = Axis(number, x.shape[number], floor(x.shape[number] * factors[number]), factors[number])
        blend = blends(places_on("asymmetric", axis, x.flat[0].at), TRIANGLE, x.flat[0].at)
        x = along(x, number, blend, 2 if k or d == 1 else max(2**d - 1 + d, 2 * d))
    return x


STATEMENTS: dict[str, Statement] = {"Resize": resize, "Upsample": upsample}


def _resize(
    shape: tuple[int, ...],
    scales: list[float] | None,
    sizes: list[int] | None,
    roi: list[float] | None = None,
    **more: Any,
) -> Example:
    rest = [None if one is None else np.array(one, np.float32) for one in (roi, scales)]
    return use("Resize", shape, *rest, None if sizes is None else np.array(sizes), data=(0,), **more)


def _mode(name: str, shape: tuple[int, ...], sizes: list[int], mode: str = "linear", **more: Any) -> Example:
    return _resize(shape, None, sizes, coordinate_transformation_mode=name, mode=mode, **more)


SMALL: list[Example] = [
    _resize((1, 1, 4), [1, 1, 2], None, mode="linear"),
    _resize((1, 1, 2, 3), [1, 1, 2, 2], None, mode="linear"),
    _resize((1, 1, 4), None, [1, 1, 3], mode="linear"),
    _resize((1, 1, 4), [1, 1, 2], None, mode="cubic"),
]
SMALL += [
    _mode("half_pixel", (3,), [5], "cubic", cubic_coeff_a=-0.5),
    _mode("half_pixel", (3,), [5]),  # the middle lies on a neighbour
    _mode("pytorch_half_pixel", (4,), [1], "cubic"),
    _mode("asymmetric", (3,), [4]),
    _mode("align_corners", (4,), [6], "cubic"),
    _mode("half_pixel_symmetric", (5,), [7]),
    _resize((5,), [1.7], None, mode="linear", coordinate_transformation_mode="half_pixel_symmetric"),
    _mode("tf_crop_and_resize", (5,), [3], roi=[-0.3, 0.9], extrapolation_value=0.3),
    _mode("tf_crop_and_resize", (5,), [1], "cubic", roi=[0.2, 0.9]),
    _resize((4,), [1.5], None, mode="cubic", exclude_outside=1),
    _resize((4,), [0.5], None, mode="linear", antialias=1),
    _resize((4,), None, [3], mode="linear", antialias=1, exclude_outside=1),
    _resize((4,), None, [3], mode="cubic", antialias=1),
    _resize((1, 2, 3), None, [3, 5], mode="linear", axes=(-2, -1), keep_aspect_ratio_policy="not_larger"),
    _resize((1, 2, 3), None, [3, 4], mode="linear", axes=(1, 2), keep_aspect_ratio_policy="not_smaller"),
    *(
        _resize((20,), [0.1], None, coordinate_transformation_mode="asymmetric", nearest_mode=mode)
        for mode in ("floor", "ceil")
    ),
    _resize((3,), [2.5], None, nearest_mode="round_prefer_ceil"),
    _mode("tf_half_pixel_for_nn", (3,), [4]),
    _resize((2, 2, 2), None, [3, 2, 3], mode="linear"),
    _resize((2, 2, 2), None, [3, 3, 3], mode="linear", coordinate_transformation_mode="align_corners"),
    use("Upsample", (1, 1, 4), mode="linear", scales=(1.0, 1.0, 1.25)),
    use("Upsample", (1, 1, 2, 2), np.array([1, 1, 2, 2], np.float32), mode="linear"),
]
