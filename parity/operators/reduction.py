"""Sums, products, extremes and norms over axes; running sums; positions of the largest values."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from parity.arithmetic import Array, Bounded, Number
from parity.errors import Unjudged
from parity.operators import functions as known
from parity.operators.cast import exactly
from parity.operators.operator import Operator, Points, plain_values, register, rows
from parity.operators.shape import axes_of

FLOATS_ONLY = "of integers, whose rounding the standard leaves open"


@dataclass(frozen=True)
class Reduction(Operator):
    """One value computed from all values along some axes; along all axes if none are named."""

    axes: tuple[int, ...] | None = None  # an input since opset 18, for ReduceSum since 13
    keepdims: int = 1
    noop_with_empty_axes: int = 0

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        """x reduced over these axes, which stay with length 1."""
        raise NotImplementedError

    def over(self, x: Number, axes: Number | None) -> tuple[int, ...]:
        """The axes to reduce, counted from 0."""
        named = axes_of(axes, self.axes, "axes")
        if not named:
            return () if self.noop_with_empty_axes else tuple(range(x.ndim))
        return tuple(sorted({normalize_axis_index(axis, x.ndim) for axis in named}))

    def evaluate(self, x: Number, axes: Number | None = None) -> Number:
        over = self.over(x, axes)
        y = self.reduce(x, over)
        return y if self.keepdims or not over else y.move(lambda a: a.squeeze(over))

    def terms(self, x: Number, axes: Number | None = None) -> int:
        return prod(x.shape[axis] for axis in self.over(x, axes))

    def sample(self, points: Points, x: Number, axes: Number | None = None) -> Number:
        over = self.over(x, axes)
        kept = [axis for axis in range(x.ndim) if axis not in over]
        if not kept:
            return self.reduce(x, over).move(lambda a: np.broadcast_to(a.reshape(1), len(points[0])))
        places = [points[axis if self.keepdims else place] for place, axis in enumerate(kept)]
        return self.reduce(rows(x, over, places), (1,)).reshape(-1)


@register
@dataclass(frozen=True)
class ReduceSum(Reduction):
    """Σ x."""

    TYPE: ClassVar[str] = "ReduceSum"

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        return x.sum(axes)


@register
@dataclass(frozen=True)
class ReduceMean(Reduction):
    """Σ x / n."""

    TYPE: ClassVar[str] = "ReduceMean"

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        if x.comparable.dtype.kind in "biu" and isinstance(x, Bounded):
            raise Unjudged(f"ReduceMean {FLOATS_ONLY}")
        return x.mean(axes)


@register
@dataclass(frozen=True)
class ReduceMax(Reduction):
    """The largest value; if there is no value, the lowest of the type."""

    TYPE: ClassVar[str] = "ReduceMax"
    LOSES_NAN: ClassVar[bool] = True

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        return x.max(axes) if _any(x, axes) else _extreme(x, axes, -np.inf)


@register
@dataclass(frozen=True)
class ReduceMin(Reduction):
    """The smallest value; if there is no value, the highest of the type."""

    TYPE: ClassVar[str] = "ReduceMin"
    LOSES_NAN: ClassVar[bool] = True

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        return x.min(axes) if _any(x, axes) else _extreme(x, axes, np.inf)


def _any(x: Number, axes: tuple[int, ...]) -> bool:
    """Whether there is something to reduce."""
    return prod(x.shape[axis] for axis in axes) > 0


def _extreme(x: Number, axes: tuple[int, ...], infinity: float) -> Number:
    kind = x.comparable.dtype
    if kind.kind == "b":
        limit = np.array(infinity > 0)
    elif kind.kind in "iu":
        limit = np.array(np.iinfo(kind).max if infinity > 0 else np.iinfo(kind).min, kind)
    else:
        limit = np.array(infinity, kind)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    return exactly(np.broadcast_to(limit, shape), x)


@register
@dataclass(frozen=True)
class ReduceProd(Reduction):
    """Π x."""

    TYPE: ClassVar[str] = "ReduceProd"

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        return x.prod(axes)


@register
@dataclass(frozen=True)
class ReduceL1(Reduction):
    """Σ|x|."""

    TYPE: ClassVar[str] = "ReduceL1"

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        return abs(x).sum(axes)


@register
@dataclass(frozen=True)
class ReduceSumSquare(Reduction):
    """Σ x²."""

    TYPE: ClassVar[str] = "ReduceSumSquare"

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        return (x * x).sum(axes)


@register
@dataclass(frozen=True)
class ReduceL2(Reduction):
    """√Σ x²."""

    TYPE: ClassVar[str] = "ReduceL2"

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        if x.comparable.dtype.kind in "biu" and isinstance(x, Bounded):
            raise Unjudged(f"ReduceL2 {FLOATS_ONLY}")
        return (x * x).sum(axes).apply(known.NORM)


@register
@dataclass(frozen=True)
class ReduceLogSum(Reduction):
    """log Σ x."""

    TYPE: ClassVar[str] = "ReduceLogSum"

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        return x.sum(axes).apply(known.LOG)


@register
@dataclass(frozen=True)
class ReduceLogSumExp(Reduction):
    """log Σ exp x, computed from the differences to the largest value, or directly."""

    TYPE: ClassVar[str] = "ReduceLogSumExp"

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        if not _any(x, axes):
            return _extreme(x, axes, -np.inf)
        largest = x.max(axes)
        if not np.isfinite(largest.comparable).all():
            raise Unjudged("ReduceLogSumExp of an infinity or a NaN")
        # The largest value is subtracted and added again, so that its own error cancels.
        pivot = exactly(largest.comparable, x)
        return (x - pivot).apply(known.EXP).sum(axes).apply(known.LOG) + pivot

    def forms(self) -> tuple[Operator, ...]:
        return (self, _Direct(self.axes, self.keepdims, self.noop_with_empty_axes))


@dataclass(frozen=True)
class _Direct(ReduceLogSumExp):
    """log Σ exp x without the largest value subtracted: it overflows early, and the logarithm rounds more."""

    def reduce(self, x: Number, axes: tuple[int, ...]) -> Number:
        return x.apply(known.EXP).sum(axes).apply(known.LOG)


@register
@dataclass(frozen=True)
class CumSum(Operator):
    """Running sums along an axis; `exclusive` leaves out the value itself, `reverse` starts from the end."""

    TYPE: ClassVar[str] = "CumSum"

    exclusive: int = 0
    reverse: int = 0

    def evaluate(self, x: Number, axis: Number) -> Number:
        return self._along(x, self._axis(x, axis))

    def terms(self, x: Number, axis: Number) -> int:
        return x.shape[self._axis(x, axis)]

    def sample(self, points: Points, x: Number, axis: Number) -> Number:
        along = self._axis(x, axis)
        others = points[:along] + points[along + 1 :]
        lines = x.move(lambda a: np.atleast_2d(np.moveaxis(a, along, -1)[others]))
        rows = np.arange(len(points[0])) if others else 0
        return self._along(lines, 1).move(lambda a: a[rows, points[along]])

    def _axis(self, x: Number, axis: Number) -> int:
        return normalize_axis_index(int(plain_values(axis, "an axis").item()), x.ndim)

    def _along(self, x: Number, axis: int) -> Number:
        if self.reverse:
            x = x.move(lambda a: np.flip(a, axis))
        if self.exclusive:
            x = x.move(lambda a: _shifted(a, axis))
        y = x.cumsum(axis)
        return y.move(lambda a: np.flip(a, axis)) if self.reverse else y


def _shifted(a: Array, axis: int) -> Array:
    """The values moved one place later along an axis, with zero in the first place."""
    later = np.zeros_like(a)
    np.moveaxis(later, axis, 0)[1:] = np.moveaxis(a, axis, 0)[:-1]
    return later


@dataclass(frozen=True)
class _Place(Operator):
    """The index of the largest value along an axis; uncertain if rounding may make another value larger."""

    axis: int = 0
    keepdims: int = 1
    select_last_index: int = 0

    def ordered(self, x: Number) -> tuple[Array, Array]:
        """The numbers to find the largest of, and the error of each."""
        off = x.bound if isinstance(x, Bounded) else np.zeros(x.shape)
        return x.comparable, off

    def evaluate(self, x: Number) -> Number:
        values, off = self.ordered(x)
        if values.dtype.kind not in "biu" and np.isnan(values).any():
            raise Unjudged(f"{self.TYPE} of NaNs")
        place = self._first(values)
        where = exactly(place, x)
        if off.any() and isinstance(x, Bounded):
            wide = values.astype(np.float64)
            possible = wide + off >= (wide - off).max(self.axis, keepdims=True)
            numbers = np.arange(x.shape[self.axis])
            numbers = numbers.reshape(-1, *(1,) * (x.ndim - 1 - self.axis % x.ndim))
            apart = np.where(possible, np.abs(numbers - place), 0).max(self.axis, keepdims=True)
            where = Bounded(place, apart.astype(np.float64), x.format)
        return where if self.keepdims else where.move(lambda a: a.squeeze(self.axis))

    def _first(self, values: Array) -> Array:
        if not self.select_last_index:
            return values.argmax(self.axis, keepdims=True)
        return values.shape[self.axis] - 1 - np.flip(values, self.axis).argmax(self.axis, keepdims=True)

    def terms(self, x: Number) -> int:
        return x.shape[self.axis]


@register
@dataclass(frozen=True)
class ArgMax(_Place):
    """Index of the largest value along an axis."""

    TYPE: ClassVar[str] = "ArgMax"


@register
@dataclass(frozen=True)
class ArgMin(_Place):
    """Index of the smallest value along an axis."""

    TYPE: ClassVar[str] = "ArgMin"

    def ordered(self, x: Number) -> tuple[Array, Array]:
        values, off = super().ordered(x)
        return _reversed(values), off


@register
@dataclass(frozen=True)
class TopK(Operator):
    """The k largest or smallest values along an axis, in order, and their indices.

    Equal values are taken in the order of their indices.
    """

    TYPE: ClassVar[str] = "TopK"

    axis: int = -1
    largest: int = 1
    sorted: int = 1
    k: int = 0  # an input since opset 10

    def evaluate(self, x: Number, k: Number | None = None) -> tuple[Number, Number]:
        if not self.sorted:
            raise Unjudged("TopK in any order")
        count = self.k if k is None else int(plain_values(k, "a number of values").item())
        values = plain_values(x, "a value to be compared")
        if values.dtype.kind not in "biu" and np.isnan(values).any():
            raise Unjudged("TopK of NaNs")
        order = np.argsort(_reversed(values) if self.largest else values, self.axis, kind="stable")
        indices = np.take(order, np.arange(count), self.axis)
        return x.move(lambda a: np.take_along_axis(a, indices, self.axis)), exactly(indices, x)


def _reversed(values: Array) -> Array:
    """Numbers whose order is reversed; negation would be wrong for unsigned integers."""
    return np.invert(values) if values.dtype.kind in "biu" else -values
