"""Float64 values with the worst case of rounding: how far any right implementation can be from them.

Every operation below adds two things up: the error that its operands bring along, and what it rounds itself.
For a sum of n terms, whatever the order of summation, with or without fused multiply-add, an evaluation ŝ in
a format of unit roundoff u satisfies

    |ŝ − Σ a_i b_i| ≤ γ_n Σ |a_i||b_i|,    γ_n = n·u / (1 − n·u)

(N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., sections 3.1 and 3.4), plus at most half
a smallest subnormal for each product that underflows; or the smallest normal number for each operand, product
and partial sum where subnormal ones are taken for zero, as TensorFlow and XLA do.

The reference is itself computed, in float64. Every bound is on |candidate − computed reference|, so that it
holds the reference's own share (u = 2^-53) as well; and since the bound is computed too, it is inflated by
`cover`, which exceeds the relative error of evaluating it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from parity.arithmetic.floats import FLOAT32, FLOAT64, U64, Format, cover, format_of, gamma
from parity.arithmetic.intervals import carried_by, held, rise, through, wide
from parity.arithmetic.number import Array, Axes, Function, Move, Number, largest
from parity.arithmetic.products import integer_product, not_negative, products_of

LOOKED_AT = 2**20  # values that are looked at at once


@dataclass(frozen=True, eq=False)
class Bounded(Number):
    """Values and the largest distance that rounding allows a candidate from each.

    Attributes:
        value: of any dtype; floats are widened to float64 where they are computed with.
        error: float64, of the same shape; None where the candidate has these very values.
        format: in which the candidate computes.
        positive: whether no value is negative; None where nobody has looked.
        settled: whether no value is so small that it may be taken for zero, or its error includes that.
    """

    value: Array
    error: Array | None = None
    format: Format = FLOAT32
    positive: bool | None = field(default=None, init=False)  # `replace` forgets these two
    settled: bool = field(default=False, init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def comparable(self) -> Array:
        return self.value

    @property
    def doubtful(self) -> Array:
        return (np.abs(self.value) <= self.bound) & (self.bound > 0)

    @property
    def bound(self) -> Array:
        """The error as an array, zeros where there is none."""
        return np.zeros(self.shape) if self.error is None else self.error

    def move(self, rearrange: Move) -> "Bounded":
        error = None if self.error is None else rearrange(self.error)
        return Bounded(rearrange(self.value), error, self.format)._known(self.positive, self.settled)

    def wide(self) -> "Bounded":
        if self._is_integer():
            return self
        # Looked at here, before a convolution repeats the values.
        x = self._flushed()
        return Bounded(wide(x.value), x.error, x.format)._known(not_negative(x.value, x.positive), True)

    def _known(self, positive: bool | None, settled: bool) -> "Bounded":
        object.__setattr__(self, "positive", positive)
        object.__setattr__(self, "settled", settled)
        return self

    def join(self, others: Sequence["Bounded"], axis: int) -> "Bounded":
        parts = (self, *others)
        value = np.concatenate([part.value for part in parts], axis)
        if all(part.error is None for part in parts):
            return Bounded(value, None, self.format)
        return Bounded(value, np.concatenate([part._flushed().bound for part in parts], axis), self.format)

    def like(self, value: Array | float, error: Array | None = None, plain: Array | None = None) -> "Bounded":
        value = np.asarray(value)
        if error is None and value.dtype.kind == "f" and not np.array_equal(self.format.round(value), value):
            error = self._off_by_rounding(value)
        return Bounded(value, error, self.format)

    def _off_by_rounding(self, value: Array) -> Array:
        """How far a constant may be off that is rounded to the format, or lost because it is so small."""
        form, size = self.format, np.abs(value)
        kept = (size == 0) | (size < form.flush)
        return np.where(kept, size, form.u * np.maximum(size, form.tiny))

    def either(self, other: "Bounded") -> "Bounded":
        same = (self.value == other.value) | ((self.value != self.value) & (other.value != other.value))
        if self.error is None and other.error is None and same.all():
            return self
        x, y = self._flushed(), other._flushed()
        with np.errstate(invalid="ignore"):
            apart = np.abs(wide(x.value) - wide(y.value)) + y.bound
        apart = np.where(same, y.bound, np.where(np.isnan(apart), np.inf, apart))
        return Bounded(x.value, np.maximum(x.bound, apart), x.format)

    def dot(self, other: "Bounded", bias: "Bounded | None" = None, products: int | None = None) -> "Bounded":
        if self._is_integer() and other._is_integer():
            return self._integer_dot(other, bias)
        terms = (self.shape[-1] if products is None else products) + (bias is not None)
        a, b = self._flushed(), other._flushed()
        value, size = products_of(a.value, b.value, a.positive, b.positive)
        carried = carried_by(np.matmul, a.value, a.error, b.value, b.error)
        # Zeros and a bias add up to the bias, in any order.
        nothing = None if size.min(initial=1) > 0 else size == 0
        if nothing is not None and carried is not None:
            nothing &= carried == 0
        if bias is not None:
            bias = bias._flushed()
            value += bias.value
            size += np.abs(bias.value)
            if bias.error is not None:
                carried = bias.error + (0.0 if carried is None else carried)
                nothing = None if nothing is None else nothing & (bias.error == 0)
        error = self._rounded_sum(value, size, carried, terms)
        # Products that underflow, and products and partial sums that are taken for zero.
        error += terms * (self.format.smallest + 2 * self.format.flush) * cover(terms)
        if nothing is not None:
            np.copyto(error, 0.0, where=nothing)
        return Bounded(value, error, self.format)

    def _integer_dot(self, other: "Bounded", bias: "Bounded | None") -> "Bounded":
        """Nothing rounds; what an operand may be off by is carried."""
        carried = carried_by(np.matmul, self.value, self.error, other.value, other.error)
        product = Bounded(integer_product(self.value, other.value), carried, self.format)
        return product if bias is None else product + bias

    def sum(self, axes: Axes) -> "Bounded":
        if self._is_integer():
            off = None if self.error is None else self.error.sum(axes, keepdims=True)
            total = self.value.sum(axes, keepdims=True, dtype=counted(self.value))
            return Bounded(total, off, self.format)
        x, terms = wide(self.value), prod(self.shape[axis] for axis in axes)
        size = np.abs(x).sum(axes, keepdims=True)
        carried = None if self.error is None else self.error.sum(axes, keepdims=True)
        value = x.sum(axes, keepdims=True)
        if terms == 1:
            return Bounded(value, self.error, self.format)._flushed()
        flushed = np.where(size == 0, 0.0, (2 * terms - 1) * self.format.flush * cover(terms))
        return Bounded(value, self._rounded_sum(value, size, carried, terms - 1) + flushed, self.format)

    def _rounded_sum(self, value: Array, size: Array, carried: Array | None, roundings: int) -> Array:
        """The bound of a sum whose magnitudes add up to `size`, whose errors to `carried`; spoils both.

        Where the magnitudes leave the format and the signs differ, some order may overflow on the way.
        """
        overflows = None
        if size.max(initial=0) > self.format.largest:
            both_signs = np.abs(value) < size * (1 - 2 * gamma(roundings, U64))
            # The terms of one sign add up to half of this: the largest that a partial sum can be.
            overflows = (size + np.abs(value) > 2 * self.format.largest) & both_signs
        g, g64 = gamma(roundings, self.format.u), gamma(roundings, U64)
        size *= (g + g64) * cover(roundings)
        if carried is not None:
            carried *= (1 + g) * cover(roundings)
            size += carried
        if overflows is not None:
            size[overflows] = np.inf
        return size

    def max(self, axes: Axes) -> "Bounded":
        """Of the errors only those count whose values may be the largest."""
        value = largest(self.value, axes)
        if self.error is None:
            return Bounded(value, None, self.format)._selected()
        errors = self.error
        highest = largest(self.value + errors, axes)
        return Bounded(value, rise(value, highest, lambda: largest(errors, axes)), self.format)

    def min(self, axes: Axes) -> "Bounded":
        if self.error is not None:
            return -((-self).max(axes))
        return Bounded(self.value.min(axes, keepdims=True), None, self.format)._selected()

    def prod(self, axes: Axes) -> "Bounded":
        """Whatever the order: any group of factors may underflow, or overflow, before the others mend it."""
        if self._is_integer() and self.error is None:
            total = self.value.prod(axes, keepdims=True, dtype=counted(self.value))
            return Bounded(total, None, self.format)
        x, terms = wide(self.value), prod(self.shape[axis] for axis in axes)
        with np.errstate(over="ignore", invalid="ignore"):
            value = x.prod(axes, keepdims=True)
            size = np.abs(x)
            carried = np.zeros(value.shape)
            if self.error is not None:  # Π(|x| + e) − Π|x|, rounded up
                size = size + self.error
                carried = size.prod(axes, keepdims=True) * (1 + terms * 4 * U64) - np.abs(value)
            if terms <= 1:
                return Bounded(value, self.error, self.format)._flushed()
            zero = (size == 0).any(axes, keepdims=True)
            g = gamma(terms - 1, self.format.u) + gamma(terms - 1, U64)
            reach = np.maximum(size, 1).prod(axes, keepdims=True)
            lost = self.format.smallest + 2 * self.format.flush
            error = carried + g * (np.abs(value) + carried) + terms * lost * reach
            error = np.where(reach > self.format.largest, np.inf, error * cover(terms))
        # A zero factor makes every order return zero, unless the others overflow to infinity before.
        error = np.where(zero & (reach <= self.format.largest), 0.0, error)
        return Bounded(value, error, self.format)

    def cumsum(self, axis: int) -> "Bounded":
        off = None if self.error is None else self.error.cumsum(axis)
        if self._is_integer():
            return Bounded(self.value.cumsum(axis, dtype=counted(self.value)), off, self.format)
        x, n = wide(self.value), self.shape[axis]
        along = tuple(-1 if k == axis % self.ndim else 1 for k in range(self.ndim))
        g = np.array([gamma(k, self.format.u) for k in range(n)]).reshape(along)
        g64 = np.array([gamma(k, U64) for k in range(n)]).reshape(along)
        size = np.abs(x).cumsum(axis)
        lost = np.array([(2 * k + 1) * self.format.flush * cover(n) for k in range(n)]).reshape(along)
        error = size * ((g + g64) * cover(n)) + np.where(size == 0, 0.0, lost)
        if off is not None:
            error += off * ((1 + g) * cover(n))
        return Bounded(x.cumsum(axis), error, self.format)

    def maximum(self, other: "Bounded | float") -> "Bounded":
        """Of an error only that part survives which can end above the other operand."""
        x, y = self, self._operand(other)
        value = np.maximum(x.value, y.value)
        if x.error is None and y.error is None:
            return Bounded(value, None, self.format)._selected()
        x, y = x._flushed(), y._flushed()
        highest = np.asarray(np.maximum(x.value + x.bound, y.value + y.bound))
        if y.error is None and not y.value.any():  # beside zero, no more survives than `highest`
            highest *= 1 + 4 * U64
            return Bounded(value, np.minimum(x.bound, highest, out=highest), self.format)
        error = rise(value, highest, lambda: np.maximum(x.bound, y.bound))
        return Bounded(value, error, self.format)

    def divided(self, n: int) -> "Bounded":
        if n == 1:
            return self
        value = wide(self.value) / n
        exact = n & (n - 1) == 0  # a power of two, unless the quotient underflows
        error = self.bound / n
        return self._rounded(value, error, 0 if exact else 2, self.format.smallest + self.format.flush)

    def apply(self, function: Function, *others: "Bounded | float") -> "Bounded":
        operands = [self._flushed(), *(self._operand(one)._flushed() for one in others)]
        x = tuple(held(one.value) if function.exact else wide(one.value) for one in operands)
        errors = [one.error for one in operands]
        recorded = all(error is None for error in errors)
        with np.errstate(all="ignore"):
            value = np.asarray(function.f(*x))
            carried = np.zeros(value.shape) if recorded else through(function, x, errors, value)
            if function.exact:
                return Bounded(value, None if recorded else carried, self.format)
            u, form = self.format.u, self.format
            error = carried + (2 * function.ulps * u + 8 * U64) * (np.abs(value) + carried)
            error += function.floor * u + form.smallest + 2 * form.flush  # XLA's asin flushes x / 2
            error = np.where(np.isinf(value) & np.isfinite(carried), 0.0, error * cover(1))
            error = np.where(np.isinf(carried), np.inf, error)
        return Bounded(value, error, self.format)

    def _flushed(self) -> "Bounded":
        """With zero inside the interval of each value so small that it may be taken for zero.

        The error of a computed value includes that already.
        """
        if self.settled or self.error is not None or format_of(self.value) is None:
            return self
        if not _any_below(self.value, self.format.flush):
            return self._known(self.positive, True)
        size = np.abs(wide(self.value))
        return Bounded(self.value, np.where(size < self.format.flush, size, 0.0), self.format)

    def _selected(self) -> "Bounded":
        """The largest of some recorded values: one that is so small may be taken for another, or for zero."""
        if format_of(self.value) is None or not _any_below(self.value, self.format.flush):
            return self
        size = np.abs(wide(self.value))
        error = np.where(size < self.format.flush, size + self.format.flush, 0.0)
        return Bounded(self.value, error, self.format)

    def affine(self, center: "Bounded", scale: "Bounded", shift: "Bounded | None") -> "Bounded":
        """An error of `scale` is the same in both of its products, so that it acts on x − center alone.

        What the products, and the difference from `shift`, round is put on x, center and shift beforehand.
        """
        scale = scale._flushed()
        x, c, s = (wide(one.value) for one in (self, center, scale))
        one, two = (gamma(k, self.format.u) + gamma(k + 2, U64) for k in (1, 2))
        apart = x - c
        off = self.bound + one * (np.abs(x) + self.bound) + center.bound + two * (np.abs(c) + center.bound)
        carried = carried_by(np.multiply, apart, off, s, scale.error)
        carried = np.zeros(apart.shape) if carried is None else carried
        nothing = ((apart == 0) & (off == 0)) | ((s == 0) & (scale.bound == 0))
        # Products that underflow; x, center, products and a difference that are taken for zero.
        lost = 2 * self.format.smallest + self.format.flush * (3 + 2 * np.abs(s))
        error = np.where(nothing, 0.0, carried + lost)
        return Bounded(apart * s, error, self.format) + (0.0 if shift is None else shift * 1.0)

    def __add__(self, other: "Bounded | float") -> "Bounded":
        y = self._operand(other)
        if self._is_integer() and y._is_integer():
            off = None if self.error is None and y.error is None else self.bound + y.bound
            return Bounded(self.value + y.value, off, self.format)
        value = wide(self.value) + wide(y.value)
        return self._rounded(value, self.bound + y.bound, 1, 2 * self.format.flush)

    def __mul__(self, other: "Bounded | float") -> "Bounded":
        x, y = self._flushed(), self._operand(other)._flushed()
        a, b = wide(x.value), wide(y.value)
        carried = carried_by(np.multiply, a, x.error, b, y.error)
        if x._is_integer() and y._is_integer():
            return Bounded(x.value * y.value, carried, self.format)
        value = a * b
        carried = np.zeros(value.shape) if carried is None else carried
        if self.format is FLOAT64:  # whose products underflow here, too
            carried = np.where((value == 0) & (a != 0) & (b != 0), carried + self.format.smallest, carried)
        return self._rounded(value, carried, 1, self.format.smallest + self.format.flush)

    def __truediv__(self, other: "Bounded | float") -> "Bounded":
        """A quotient, or the product with the rounded reciprocal, which XLA makes of a constant divisor."""
        x, y = self._flushed(), self._operand(other)._flushed()
        with np.errstate(all="ignore"):
            a, b = wide(x.value), wide(y.value)
            value = a / b
            carried = np.zeros(value.shape)
            if x.error is not None or y.error is not None:
                safe = np.abs(b) - y.bound  # 0 or less: the divisor may be zero
                carried = x.bound + np.where(y.bound == 0, 0.0, np.abs(value) * y.bound)
                nothing = (carried == 0) & (y.bound == 0)
                carried = np.where(nothing, 0.0, np.where(safe > 0, carried / safe, np.inf))
            lost = (self.format.smallest + self.format.flush) * (1 + np.abs(a))
        return self._rounded(value, carried, 2, lost)

    def __rtruediv__(self, other: float) -> "Bounded":
        return self._operand(other) / self

    def __neg__(self) -> "Bounded":
        return Bounded(-self.value, self.error, self.format)

    def __abs__(self) -> "Bounded":
        return Bounded(np.abs(self.value), self.error, self.format)

    def _rounded(self, value: Array, carried: Array, roundings: int, underflow: float | Array) -> "Bounded":
        """The bound of a value that is rounded so often, and perhaps underflows once, behind `carried`.

        An infinite value with a finite `carried` comes from an infinite operand: every candidate has it too.
        """
        g = gamma(roundings, self.format.u) + gamma(roundings, U64)
        size = np.abs(value)
        with np.errstate(invalid="ignore", over="ignore"):
            error = carried + g * (size + carried)
            error += np.where((size == 0) & (carried == 0), 0.0, underflow)
            error = np.where(np.isinf(value) & np.isfinite(carried), 0.0, error * cover(1))
        return Bounded(value, error, self.format)

    def _operand(self, other: "Bounded | float") -> "Bounded":
        """A constant is rounded to the candidate's format, unless it is one of its numbers."""
        if isinstance(other, Bounded):
            return other
        value = np.asarray(other, self.value.dtype if self.value.dtype.kind in "iu" else None)
        if value.dtype.kind != "f" or self.format.round(value) == value:
            if value == 0 and self.value.dtype.kind == "f":
                value = value.astype(self.value.dtype)  # float64 beside float32 would widen it
            return Bounded(value, None, self.format)
        return Bounded(value, self._off_by_rounding(value), self.format)

    def _is_integer(self) -> bool:
        """Whether adding and multiplying these rounds nothing, whatever they are off by."""
        return self.value.dtype.kind in "biu"


def _any_below(x: Array, least: float) -> bool:
    """Whether a value other than zero is smaller than this; looked for in parts, to save memory."""
    if x.ndim and x.shape[0] > 1 and x.size > LOOKED_AT:
        return any(
            _any_below(part, least) for part in np.array_split(x, min(x.shape[0], x.size // LOOKED_AT + 1))
        )
    with np.errstate(invalid="ignore"):  # NaN in bfloat16
        small = (x < least) & (x > -least)
    return bool(small.any()) and np.count_nonzero(small) != np.count_nonzero(x == 0)


def counted(x: Array) -> np.dtype:
    """The type in which integers of x's type are added up: their own, truth values as int64."""
    return np.dtype(np.int64) if x.dtype.kind == "b" else x.dtype
