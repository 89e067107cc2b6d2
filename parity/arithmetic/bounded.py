"""Float64 values with the worst case of rounding: how far any right implementation can be from them.

Every operation below adds two things up: the error that its operands bring along, and what it rounds itself.
For a sum of n terms, whatever the order of summation, with or without fused multiply-add, an evaluation ŝ in
a format of unit roundoff u satisfies

    |ŝ − Σ a_i b_i| ≤ γ_n Σ |a_i||b_i|,    γ_n = n·u / (1 − n·u)

(N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., sections 3.1 and 3.4), plus at most half
a smallest subnormal for each product that underflows.

The reference is itself computed, in float64. Every bound is on |candidate − computed reference|, so that it
holds the reference's own share (u = 2^-53) as well; and since the bound is computed too, it is inflated by
`cover`, which exceeds the relative error of evaluating it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from parity.arithmetic.number import Array, Axes, Function, Move, Number
from parity.floats import FLOAT32, U64, Format, cover, gamma


@dataclass(frozen=True, eq=False)
class Bounded(Number):
    """Values and the largest distance that rounding allows a candidate from each.

    Attributes:
        value: of any dtype; floats are widened to float64 where they are computed with.
        error: float64, of the same shape; None where the candidate has these very values.
        format: in which the candidate computes.
    """

    value: Array
    error: Array | None = None
    format: Format = FLOAT32

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def comparable(self) -> Array:
        return self.value

    @property
    def bound(self) -> Array:
        """The error as an array, zeros where there is none."""
        return np.zeros(self.shape) if self.error is None else self.error

    def move(self, rearrange: Move) -> "Bounded":
        error = None if self.error is None else rearrange(self.error)
        return Bounded(rearrange(self.value), error, self.format)

    def wide(self) -> "Bounded":
        return Bounded(_wide(self.value), self.error, self.format)

    def join(self, others: Sequence["Bounded"], axis: int) -> "Bounded":
        parts = (self, *others)
        value = np.concatenate([part.value for part in parts], axis)
        if all(part.error is None for part in parts):
            return Bounded(value, None, self.format)
        return Bounded(value, np.concatenate([part.bound for part in parts], axis), self.format)

    def dot(self, other: "Bounded", bias: "Bounded | None" = None, products: int | None = None) -> "Bounded":
        a, b = _wide(self.value), _wide(other.value)
        terms = (a.shape[-1] if products is None else products) + (bias is not None)
        value, size = _products(a, b)
        carried = _carried(a, self.error, b, other.error)
        nothing = size == 0  # zeros and a bias add up to the bias, in any order
        if carried is not None:
            nothing &= carried == 0
        if bias is not None:
            value += bias.value
            size += np.abs(bias.value)
            if bias.error is not None:
                carried = bias.error if carried is None else carried + bias.error
                nothing &= bias.error == 0
        error = self._rounded_sum(size, carried, terms)
        error += terms * self.format.smallest  # products that underflow
        np.copyto(error, 0.0, where=nothing)
        return Bounded(value, error, self.format)

    def sum(self, axes: Axes) -> "Bounded":
        if self._is_integer():
            return Bounded(self.value.sum(axes, keepdims=True), None, self.format)
        x, terms = _wide(self.value), prod(self.shape[axis] for axis in axes)
        size = np.abs(x).sum(axes, keepdims=True)
        carried = None if self.error is None else self.error.sum(axes, keepdims=True)
        value = x.sum(axes, keepdims=True)
        if terms == 1:
            return Bounded(value, self.error, self.format)
        return Bounded(value, self._rounded_sum(size, carried, terms - 1), self.format)

    def _rounded_sum(self, size: Array, carried: Array | None, roundings: int) -> Array:
        """The bound of a sum whose magnitudes add up to `size`, whose errors to `carried`; spoils `size`."""
        g, g64 = gamma(roundings, self.format.u), gamma(roundings, U64)
        size *= (g + g64) * cover(roundings)
        if carried is not None:
            size += carried * ((1 + g) * cover(roundings))
        return size

    def max(self, axes: Axes) -> "Bounded":
        error = None if self.error is None else self.error.max(axes, keepdims=True)
        return Bounded(self.value.max(axes, keepdims=True), error, self.format)

    def maximum(self, other: "Bounded | float") -> "Bounded":
        """Of an error only that part survives which can end above the other operand."""
        y = self._operand(other)
        value = np.maximum(self.value, y.value)
        if self.error is None and y.error is None:
            return Bounded(value, None, self.format)
        highest = np.maximum(self.value + self.bound, y.value + y.bound)
        lowest = np.maximum(self.value - self.bound, y.value - y.bound)
        return Bounded(value, _reach(lowest, value, highest, np.maximum(self.bound, y.bound)), self.format)

    def divided(self, n: int) -> "Bounded":
        if n == 1:
            return self
        value = _wide(self.value) / n
        exact = n & (n - 1) == 0  # a power of two, unless the quotient underflows
        error = self.bound / n
        return self._rounded(value, error, 0 if exact else 2, self.format.smallest)

    def apply(self, function: Function) -> "Bounded":
        x = _wide(self.value)
        with np.errstate(all="ignore"):
            value = function.f(x)
            carried = np.zeros(value.shape) if self.error is None else self._through(function, x, value)
        if function.exact:
            return Bounded(value, None if self.error is None else carried, self.format)
        u, size = self.format.u, np.abs(value) + carried
        error = carried + (2 * function.ulps * u + 8 * U64) * size + function.floor * u + self.format.smallest
        return Bounded(value, error * cover(1), self.format)

    def _through(self, function: Function, x: Array, value: Array) -> Array:
        assert self.error is not None
        if not function.monotone:
            return np.where(self.error == 0, 0.0, function.slope * self.error)
        ends = function.f(x - self.error), function.f(x + self.error)
        widest = function.slope * self.error if np.isfinite(function.slope) else None
        return np.where(self.error == 0, 0.0, _reach(np.minimum(*ends), value, np.maximum(*ends), widest))

    def __add__(self, other: "Bounded | float") -> "Bounded":
        y = self._operand(other)
        if self._is_integer() and y._is_integer():
            return Bounded(self.value + y.value, None, self.format)
        return self._rounded(_wide(self.value) + _wide(y.value), self.bound + y.bound, 1, 0.0)

    def __mul__(self, other: "Bounded | float") -> "Bounded":
        y = self._operand(other)
        if self._is_integer() and y._is_integer():
            return Bounded(self.value * y.value, None, self.format)
        a, b = _wide(self.value), _wide(y.value)
        value = a * b
        carried = _both(np.multiply, a, self.error, b, y.error)
        return self._rounded(
            value, np.zeros(value.shape) if carried is None else carried, 1, self.format.smallest
        )

    def __truediv__(self, other: "Bounded | float") -> "Bounded":
        y = self._operand(other)
        with np.errstate(all="ignore"):
            value = _wide(self.value) / _wide(y.value)
            carried = np.zeros(value.shape)
            if self.error is not None or y.error is not None:
                safe = np.abs(_wide(y.value)) - y.bound  # 0 or less: the divisor may be zero
                carried = self.bound + np.where(y.bound == 0, 0.0, np.abs(value) * y.bound)
                nothing = (carried == 0) & ((y.bound == 0) | (safe > 0))
                carried = np.where(nothing, 0.0, np.where(safe > 0, carried / safe, np.inf))
        return self._rounded(value, carried, 1, self.format.smallest)

    def __neg__(self) -> "Bounded":
        return Bounded(-self.value, self.error, self.format)

    def __abs__(self) -> "Bounded":
        return Bounded(np.abs(self.value), self.error, self.format)

    def _rounded(self, value: Array, carried: Array, roundings: int, underflow: float) -> "Bounded":
        """The bound of a value that is rounded so often, and perhaps underflows once, behind `carried`."""
        g = gamma(roundings, self.format.u) + gamma(roundings, U64)
        size = np.abs(value)
        with np.errstate(invalid="ignore", over="ignore"):
            error = carried + g * (size + carried)
            error += np.where((size == 0) & (carried == 0), 0.0, underflow)
            error *= cover(1)
        return Bounded(value, error, self.format)

    def _operand(self, other: "Bounded | float") -> "Bounded":
        return other if isinstance(other, Bounded) else Bounded(np.asarray(other), None, self.format)

    def _is_integer(self) -> bool:
        return self.error is None and self.value.dtype.kind in "biu"


def _wide(x: Array) -> Array:
    return x.astype(np.float64, copy=False)


def _products(a: Array, b: Array) -> tuple[Array, Array]:
    """a·b and |a|·|b|. What comes out of a ReLU is not negative: one pass over it gives both."""
    if a.shape[-2] < b.shape[-1] and b.size and b.min() >= 0:
        both = np.concatenate([a, np.abs(a)], axis=-2) @ b
        return both[..., : a.shape[-2], :], both[..., a.shape[-2] :, :]
    return a @ b, np.abs(a) @ np.abs(b)


def _carried(a: Array, a_error: Array | None, b: Array, b_error: Array | None) -> Array | None:
    """What errors of both factors add up to in a·b."""
    return _both(np.matmul, a, a_error, b, b_error)


def _both(
    product: np.ufunc, a: Array, a_error: Array | None, b: Array, b_error: Array | None
) -> Array | None:
    """|a|·e_b + e_a·|b| + e_a·e_b, where there are errors."""
    if b_error is None:
        return None if a_error is None else product(a_error, np.abs(b))
    if a_error is None:
        return product(np.abs(a), b_error)
    return product(np.abs(a) + a_error, b_error) + product(a_error, np.abs(b))


def _reach(lowest: Array, value: Array, highest: Array, widest: Array | None) -> Array:
    """How far an interval reaches from a value inside it, all three computed; never more than `widest`."""
    with np.errstate(invalid="ignore"):
        reach = np.maximum(highest - value, value - lowest)
        reach = reach + 4 * U64 * np.maximum(np.abs(highest), np.abs(lowest))
    reach = np.where(np.isnan(reach), np.inf, reach)
    return reach if widest is None else np.minimum(reach, widest)
