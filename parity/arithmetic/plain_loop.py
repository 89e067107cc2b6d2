"""The plain loop: the least accurate thing that anybody calls a right implementation.

Products are rounded to the candidate's format and added up one after the other in it. The worst case grows
with the number n of terms and lets a coarse format pass where n is large; the error of this loop on the same
data does not. What a right library returns is about as accurate or better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np

from parity.arithmetic.number import Array, Axes, Function, Move, Number
from parity.floats import FLOAT32, Format


@dataclass(frozen=True, eq=False)
class Looped(Number):
    """Values as a plain loop computes them in `format`."""

    value: Array
    format: Format = FLOAT32

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def comparable(self) -> Array:
        return self.value

    def move(self, rearrange: Move) -> "Looped":
        return Looped(rearrange(self.value), self.format)

    def wide(self) -> "Looped":
        return Looped(self._in_format(self.value), self.format)

    def join(self, others: Sequence["Looped"], axis: int) -> "Looped":
        return Looped(np.concatenate([part.value for part in (self, *others)], axis), self.format)

    def dot(self, other: "Looped", bias: "Looped | None" = None, products: int | None = None) -> "Looped":
        a = np.ascontiguousarray(np.moveaxis(self._in_format(self.value), -1, 0))[..., None]
        b = np.moveaxis(self._in_format(other.value), -2, 0)[..., None, :]
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            start = (
                a[0] * b[0] if len(a) else np.zeros(np.broadcast_shapes(a.shape[1:], b.shape[1:]), a.dtype)
            )
            total = _add_products(start, a[1:], b[1:])
            return Looped(total if bias is None else total + self._in_format(bias.value), self.format)

    def sum(self, axes: Axes) -> "Looped":
        if self.value.dtype.kind in "biu":
            return Looped(self.value.sum(axes, keepdims=True), self.format)
        kept = tuple(axis for axis in range(self.ndim) if axis not in axes)
        terms = self._in_format(self.value).transpose(*axes, *kept)
        terms = terms.reshape(prod(terms.shape[: len(axes)]), *terms.shape[len(axes) :])
        with np.errstate(over="ignore", invalid="ignore"):
            total = reduce(np.add, terms, np.zeros(terms.shape[1:], terms.dtype))
        return Looped(np.expand_dims(total, axes), self.format)

    def max(self, axes: Axes) -> "Looped":
        return Looped(self.value.max(axes, keepdims=True), self.format)

    def maximum(self, other: "Looped | float") -> "Looped":
        return self._with(np.maximum, other)

    def divided(self, n: int) -> "Looped":
        return self._with(np.divide, float(n))

    def apply(self, function: Function) -> "Looped":
        """The function, off by its stated accuracy in a random direction: that is what is called right."""
        x = self._in_format(self.value).astype(np.float64)
        with np.errstate(all="ignore"):
            value = function.f(x)
            if not function.exact:
                u = self.format.u
                off = 2 * function.ulps * u * np.abs(value) + function.floor * u
                value = value + off * np.random.default_rng(value.size).choice([-1.0, 1.0], value.shape)
        return Looped(self._in_format(value), self.format)

    def __add__(self, other: "Looped | float") -> "Looped":
        return self._with(np.add, other)

    def __mul__(self, other: "Looped | float") -> "Looped":
        return self._with(np.multiply, other)

    def __truediv__(self, other: "Looped | float") -> "Looped":
        return self._with(np.divide, other)

    def __neg__(self) -> "Looped":
        return Looped(-self.value, self.format)

    def __abs__(self) -> "Looped":
        return Looped(np.abs(self.value), self.format)

    def _with(self, operation: np.ufunc, other: "Looped | float") -> "Looped":
        y = other.value if isinstance(other, Looped) else np.asarray(other)
        if self.value.dtype.kind in "biu" and y.dtype.kind in "biu":
            return Looped(operation(self.value, y), self.format)
        with np.errstate(all="ignore"):
            return Looped(operation(self._in_format(self.value), self._in_format(y)), self.format)

    def _in_format(self, x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return x.astype(self.format.dtype, copy=False)


def _add_products(total: Array, a: Array, b: Array) -> Array:
    """total + Σ a[k]·b[k], one term after the other, in place."""
    product = np.empty_like(total)
    for left, right in zip(a, b, strict=True):
        np.multiply(left, right, out=product)
        np.add(total, product, out=total)
    return total
