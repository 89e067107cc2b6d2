"""Changes of the size of images and other arrays: Resize, Upsample.

Interpolation is a product with a matrix of weights along each axis. Its bound is that of sums of
products, plus what an uncertain place adds (`parity.operators.interpolation`). A nearest neighbour is
copied without rounding, but its place is rounded: if the usual ways to compute it in float32 or float64 lead
to different neighbours, each of them is right.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from parity.arithmetic import Array, Number
from parity.arithmetic.floats import FLOAT64, U64, format_of
from parity.errors import Unjudged
from parity.operators.interpolation import (
    LINEAR,
    Places,
    Taps,
    choose,
    cubic,
    gathered,
    normalised,
    own,
    taps,
)
from parity.operators.operator import Operator, Points, plain_values, register

HALF = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")


@dataclass(frozen=True)
class _Size:
    """What happens to one axis: its length before and after, the factor, and the part of it that is used."""

    axis: int
    before: int
    after: int
    scale: float
    sized: bool  # the factor is after / before, computed by the implementation
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class _Nearest:
    """One neighbour for each output value, and the one that another order of rounding leads to."""

    index: Array  # (M, 2)

    def at(self, rows: Array) -> "_Nearest":
        return _Nearest(self.index[rows])

    def contract(self, seen: Number) -> Number:
        return seen.move(lambda a: a[..., 0]).either(seen.move(lambda a: a[..., 1]))

    def along(self, x: Number) -> Number:
        one, other = self.index.T
        y = x.move(lambda a: a[..., one])
        return y if (one == other).all() else y.either(x.move(lambda a: a[..., other]))


@dataclass(frozen=True)
class _Along:
    """How one axis is resized: its neighbours, and which places tf_crop_and_resize takes as outside of x.

    `outside` is (M, 2): for the exact place, and for the place that an implementation may compute.
    """

    axis: int
    how: _Nearest | Taps
    outside: Array


@register
@dataclass(frozen=True)
class Resize(Operator):
    """x in another size, interpolated between neighbours along each axis.

    With `scales`, the new size is the integer part of a float32 product, as in onnxruntime and in ONNX's
    shape inference. `align_corners` and `tf_crop_and_resize` use that integer, as onnxruntime does and the
    standard says; ONNX's reference evaluator uses the product.
    """

    TYPE: ClassVar[str] = "Resize"
    LOSES_NAN: ClassVar[bool] = True

    antialias: int = 0
    axes: tuple[int, ...] = ()
    coordinate_transformation_mode: str = "half_pixel"
    cubic_coeff_a: float = -0.75
    exclude_outside: int = 0
    extrapolation_value: float = 0.0
    keep_aspect_ratio_policy: str = "stretch"
    mode: str = "nearest"
    nearest_mode: str = "round_prefer_floor"
    inputs: tuple[str, ...] = ("roi", "scales", "sizes")  # names of the inputs after x

    @classmethod
    def read(cls, attributes: Mapping[str, Any], opset: int) -> "Resize":
        if "inputs" in attributes:
            raise Unjudged("Resize with attribute inputs")
        if opset < 11:
            return cls.old(attributes.get("mode", "nearest"))
        return super().read(attributes, opset)

    @classmethod
    def old(cls, mode: str) -> "Resize":
        """Before opset 11: output i is at i / scale; the nearest value is below, or above if x shrinks."""
        kind = "linear" if mode in ("bilinear", "trilinear") else mode
        return cls(
            mode=kind, coordinate_transformation_mode="asymmetric", nearest_mode="old", inputs=("scales",)
        )

    def terms(self, x: Number, *rest: Number | None) -> int:
        return prod(one.how.index.shape[1] for one in self._plan(x, rest))

    def evaluate(self, x: Number, *rest: Number | None) -> Number:
        lengths = {one.axis: one.after for one in self._sizes(x, rest)}
        if 0 in lengths.values():
            shape = [lengths.get(axis, size) for axis, size in enumerate(x.shape)]
            return x.move(lambda a: np.zeros(shape, a.dtype))
        plan = self._plan(x, rest)
        y = x
        for one in plan:
            y = y.move(lambda a, axis=one.axis: np.moveaxis(a, axis, -1))  # type: ignore[misc]
            y = one.how.along(y).move(lambda a, axis=one.axis: np.moveaxis(a, -1, axis))  # type: ignore[misc]
        grid = np.ogrid[tuple(slice(size) for size in y.shape)]
        return self._filled(y, plan, list(grid))

    def sample(self, points: Points, x: Number, *rest: Number | None) -> Number:
        plan = self._plan(x, rest)
        index = [points[axis].reshape(-1, *(1,) * len(plan)) for axis in range(x.ndim)]
        for k, one in enumerate(plan):
            seen = one.how.index[points[one.axis]].clip(0, x.shape[one.axis] - 1)
            index[one.axis] = seen.reshape(len(seen), *(-1 if k == i else 1 for i in range(len(plan))))
        y = gathered(x, index)
        for one in plan:
            count, tap, *others = y.shape
            y = y.move(lambda a, n=count, t=tap: np.moveaxis(a, 1, -1).reshape(n, -1, t))  # type: ignore[misc]
            y = one.how.at(points[one.axis]).contract(y).reshape(count, *others)
        return self._filled(y, plan, list(points))

    def _filled(self, y: Number, plan: Sequence[_Along], index: Sequence[Array]) -> Number:
        """y, but with the extrapolation value where a place on any axis is outside."""
        if not any(one.outside.any() for one in plan):
            return y
        fill = y.like(np.full(y.shape, self.extrapolation_value, np.float32))
        kinds = []
        for k in range(2):
            outside = np.zeros(y.shape, np.int64)
            for one in plan:
                outside |= one.outside[index[one.axis], k]
            kinds.append(choose(outside, y, fill))
        return kinds[0].either(kinds[1])

    def _plan(self, x: Number, rest: Sequence[Number | None]) -> list[_Along]:
        """How to resize each axis that changes.

        Raises:
            Unjudged: this is not known, or the result has no values.
        """
        sizes = [one for one in self._sizes(x, rest) if self._changes(one)]
        if not all(one.after for one in sizes):
            raise Unjudged(f"{self.TYPE} to a tensor without values")
        if self.mode != "nearest" and sizes and format_of(own(x)) is None:
            raise Unjudged(f"Resize of integers in mode {self.mode}")
        if self.mode != "nearest" and sizes and not np.isfinite(own(x)).all():
            raise Unjudged(f"Resize of values that are not finite in mode {self.mode}")
        if self.antialias and self.mode == "nearest":
            raise Unjudged("Resize with antialias in mode nearest")
        plan = [self._along(one, x) for one in sizes]
        blends = [one.how for one in plan if isinstance(one.how, Taps)]
        if len(blends) > 1:
            # Libraries resize the axes one after the other, in any order, or all at once with products of
            # weights: the bound of the first axis counts the roundings of all axes.
            at_once = (
                2 ** len(blends) - 1 + len(blends) if self.mode == "linear" and not self.antialias else 0
            )
            count = max(at_once, sum(one.products for one in blends))
            plan[0] = replace(plan[0], how=replace(blends[0], products=count))
        return plan

    def _changes(self, one: _Size) -> bool:
        crop = self.coordinate_transformation_mode == "tf_crop_and_resize"
        whole = not crop or (one.start, one.end) == (0, 1)
        return not (one.before == one.after and one.scale == 1 and whole)

    def _sizes(self, x: Number, rest: Sequence[Number | None]) -> list[_Size]:
        given = {}
        for name, value in zip(self.inputs, rest, strict=False):
            if value is not None and value.size:
                given[name] = plain_values(value, f"{name} of {self.TYPE}").ravel().tolist()
        axes = [normalize_axis_index(axis, x.ndim) for axis in self.axes] or list(range(x.ndim))
        roi = given.get("roi", [0.0] * len(axes) + [1.0] * len(axes))
        ends = list(zip(roi[: len(axes)], roi[len(axes) :], strict=True))
        if "sizes" not in given and "scales" not in given:
            raise Unjudged(f"{self.TYPE} without scales or sizes")
        if "sizes" not in given:
            scales = given["scales"]
            return [
                _Size(axis, n, int(np.float32(n) * np.float32(scale)), scale, False, *end)
                for axis, n, scale, end in zip(
                    axes, (x.shape[axis] for axis in axes), scales, ends, strict=True
                )
            ]
        lengths = [int(size) for size in given["sizes"]]
        if any(m and not x.shape[axis] for axis, m in zip(axes, lengths, strict=True)):
            raise Unjudged(f"{self.TYPE} of a tensor without values")
        factors = [m / (x.shape[axis] or 1) for axis, m in zip(axes, lengths, strict=True)]
        if self.keep_aspect_ratio_policy == "stretch":
            pairs = list(zip(lengths, factors, strict=True))
        elif self.keep_aspect_ratio_policy in ("not_larger", "not_smaller"):
            factor = min(factors) if self.keep_aspect_ratio_policy == "not_larger" else max(factors)
            pairs = [(int(factor * x.shape[axis] + 0.5), factor) for axis in axes]
        else:
            raise Unjudged(f"keep_aspect_ratio_policy {self.keep_aspect_ratio_policy}")
        return [
            _Size(axis, x.shape[axis], m, factor, True, *end)
            for axis, (m, factor), end in zip(axes, pairs, ends, strict=True)
        ]

    def _along(self, one: _Size, x: Number) -> _Along:
        form = np.float64 if getattr(x, "format", None) is FLOAT64 else np.float32
        orders, places = _places(self.coordinate_transformation_mode, one, form)
        orders = np.stack([*orders, *_in_float64(self.coordinate_transformation_mode, one)])
        outside = np.zeros((one.after, 2), bool)
        if self.coordinate_transformation_mode == "tf_crop_and_resize":
            beyond = (orders < 0) | (orders > one.before - 1)
            exact = (places.value < 0) | (places.value > one.before - 1)
            outside = np.stack([exact, np.where(exact, beyond.all(0), beyond.any(0))], 1)
        if self.mode == "nearest":
            return _Along(one.axis, self._nearest(one, orders, places.value), outside)
        kernel = {"linear": LINEAR, "cubic": cubic(self.cubic_coeff_a)}.get(self.mode)
        if kernel is None:
            raise Unjudged(f"{self.TYPE} in mode {self.mode}")
        stretch = max(1.0, 1 / one.scale) if self.antialias else 1.0
        changed = bool(self.antialias or self.exclude_outside)
        seen = taps(x, places, kernel, stretch, whole=not changed)
        if changed:
            seen = normalised(seen, one.before, bool(self.exclude_outside))
        return _Along(one.axis, seen, outside)

    def _nearest(self, one: _Size, orders: Array, place: Array) -> _Nearest:
        rounds: dict[str, Callable[[Array], Array]] = {
            "round_prefer_floor": lambda c: np.ceil(c - 0.5),
            "round_prefer_ceil": lambda c: np.floor(c + 0.5),
            "floor": np.floor,
            "ceil": np.ceil,
            "old": np.ceil if one.scale < 1 else np.floor,
        }
        if self.nearest_mode not in rounds:
            raise Unjudged(f"nearest_mode {self.nearest_mode}")
        nearest = rounds[self.nearest_mode]
        index, others = nearest(place), nearest(orders)
        lowest, highest = others.min(0), others.max(0)
        other = np.where(highest > index, highest, lowest)
        pairs = np.stack([index, other], 1).clip(0, one.before - 1)
        return _Nearest(pairs.astype(np.int64))


def _places(transform: str, one: _Size, form: type[np.floating]) -> tuple[Array, Places]:
    """(K, M) places in the input, by K usual orders of rounding; and the exact places with their errors."""
    j = np.arange(one.after, dtype=np.float64)
    n, m = one.before, one.after
    u = float(np.finfo(form).eps) / 2
    with np.errstate(all="ignore"):
        if transform in (*HALF, "asymmetric", "tf_half_pixel_for_nn"):
            if transform == "pytorch_half_pixel" and m == 1:
                exact, orders, error = 0 * j, [0 * j], 0 * j
            else:
                exact, orders, error = _scaled(transform, one, j, form)
        elif transform == "align_corners":
            exact = j * (n - 1) / max(m - 1, 1)
            orders = [
                form((n - 1) / max(m - 1, 1)) * j.astype(form),
                form(n - 1) * j.astype(form) / form(max(m - 1, 1)),
            ]
            error = 3 * u * np.abs(exact)
        elif transform == "tf_crop_and_resize":
            first, span = one.start * (n - 1), (one.end - one.start) * (n - 1)
            f_first = form(one.start) * form(n - 1)
            f_wide = form(one.end) - form(one.start)
            if m > 1:
                exact = first + j * span / (m - 1)
                step = f_wide * form(n - 1) / form(m - 1)
                steps = [j.astype(form) * f_wide * form(n - 1) / form(m - 1), j.astype(form) * step]
                orders = [f_first + one_step for one_step in steps]
                # Five roundings of the steps, one of the first place, and one of the sum of both.
                error = u * (5 * np.abs(j * span / (m - 1)) + abs(first) + np.abs(exact))
            else:
                exact = 0.5 * (one.start + one.end) * (n - 1) + 0 * j
                orders = [form(0.5) * (form(one.start) + form(one.end)) * form(n - 1) + 0 * j]
                error = 2 * u * np.abs(exact)  # a sum and a product
        else:
            raise Unjudged(f"coordinate_transformation_mode {transform}")
    ways = np.stack([np.asarray(order, np.float64) for order in (*orders, exact.astype(form))])
    if (ways == exact).all():
        return ways, Places(exact, np.zeros(m), exact)
    off = np.abs(ways - exact)
    worst = int((off**2).sum(1).argmax())
    # The distances to neighbours are rounded too, and so are the float64 values computed here.
    more = u + 4 * U64 * (np.abs(exact) + (n if transform == "half_pixel_symmetric" else 1))
    return ways, Places(exact, np.maximum(error * (1 + 8 * u), off.max(0)) + more, ways[worst])


def _in_float64(transform: str, one: _Size) -> list[Array]:
    """The places that are computed in float64: by the scale, by the scale in float32, or by both lengths."""
    n, m = one.before, one.after
    j = np.arange(m, dtype=np.float64)
    if transform == "align_corners":
        return [j * ((n - 1) / max(m - 1, 1))]
    if m == 1 and transform in ("tf_crop_and_resize", "pytorch_half_pixel"):
        return []
    if transform == "tf_crop_and_resize":
        first, part = one.start * (n - 1), one.end - one.start
        return [first + j * (part * (n - 1) / (m - 1))]
    at, half = _stepped(transform, j)
    ways = []
    stretched = np.float32(m / n) == np.float32(one.scale)  # so it may be computed from the lengths again
    for scale in (one.scale, float(np.float32(one.scale)), *([m / n] if stretched else [])):
        offset = n / 2 * (1 - m / (n * scale)) if transform == "half_pixel_symmetric" else 0.0
        ways += [(offset + way) + half for way in (at / scale, at * (1 / scale))]
    if stretched:
        ways.append(at * (n / m) + half)
    return ways


def _stepped(transform: str, j: Array) -> tuple[Array, float]:
    """What is divided by the scale for output j, and what is added to the quotient."""
    return (j if transform == "asymmetric" else j + 0.5), (-0.5 if transform in HALF else 0.0)


def _scaled(
    transform: str, one: _Size, j: Array, form: type[np.floating]
) -> tuple[Array, list[Array], Array]:
    """The places if output i lies at about i / scale: exact, by the usual orders, and their largest error."""
    n, m, s = one.before, one.after, one.scale
    u = float(np.finfo(form).eps) / 2
    at, half = _stepped(transform, j)
    stretched = one.sized and s == m / n
    base = at * n / m if stretched else at / s
    scale, places = form(s), at.astype(form)
    factors = [form(1) / scale, form(1 / s)]
    if form(m / n) == scale:
        factors.append(form(n / m))
    raw = [places / scale, *(places * factor for factor in factors)]
    offset, error, offsets = 0.0, 0.0 * j, [form(0)]
    if transform == "half_pixel_symmetric":
        # n/2 (1 − m/(n s)), which is zero where s is m/n, unless it is computed with a rounded s.
        adjustment = 1.0 if stretched else m / (n * s)
        offset = n / 2 * (1 - adjustment)
        offsets = [form(offset), form(n / 2) * (form(1) - form(m) / (form(n) * scale))]
        error = u * (2 * n * adjustment + 2 * abs(offset) + np.abs(base + offset))
    exact = base + (offset + half)
    orders = []
    for moved in offsets:
        orders += [(moved + one_way) + form(half) for one_way in raw]
        orders += [one_way.astype(np.float64) + (float(moved) + half) for one_way in raw]
        orders += [(at * np.float64(factor) + (float(moved) + half)).astype(form) for factor in factors]
        if transform == "half_pixel_symmetric":  # as onnxruntime divides: in float64, by the rounded scale
            orders.append((at / np.float64(scale) + (float(moved) + half)).astype(form))
    return exact, orders, error + u * (4 * np.abs(base) + np.abs(exact))


@register
@dataclass(frozen=True)
class Upsample(Operator):
    """Resize before version 10 of the standard: output i lies at i / scale."""

    TYPE: ClassVar[str] = "Upsample"
    LOSES_NAN: ClassVar[bool] = True

    mode: str = "nearest"
    scales: tuple[float, ...] = ()  # an input from version 9 on

    def terms(self, x: Number, *scales: Number) -> int:
        return self._as_resize().terms(x, *self._scales(x, scales))

    def evaluate(self, x: Number, *scales: Number) -> Number:
        return self._as_resize().evaluate(x, *self._scales(x, scales))

    def sample(self, points: Points, x: Number, *scales: Number) -> Number:
        return self._as_resize().sample(points, x, *self._scales(x, scales))

    def _as_resize(self) -> Resize:
        return Resize.old(self.mode)

    def _scales(self, x: Number, scales: Sequence[Number]) -> Sequence[Number]:
        return scales or (x.like(np.array(self.scales, np.float32)),)
