"""The plain loop: the least accurate implementation that still counts as right.

Products are rounded to the candidate's format and added in this format, one after the other. The worst case
grows with the number n of terms, so for large n it accepts a coarse format; the error of this loop on the
same data does not. The results of a right library are about as accurate or better.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import reduce
from math import prod
from typing import Literal, get_args

import numpy as np

from parity.arithmetic.bounded import counted
from parity.arithmetic.floats import FLOAT32, FORMATS, Format, format_of
from parity.arithmetic.number import Array, Axes, Function, Move, Number, largest
from parity.arithmetic.products import integer_product

BLOCK = 2**16  # products that are held at once

Order = Literal["forwards", "backwards", "shuffled"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True, eq=False)
class Looped(Number):
    """Values as a plain loop computes them.

    Attributes:
        value: an array of any dtype; floats are rounded to the format when they are used.
        format: the format in which the loop computes.
        order: in which it adds. A bias is the last term, and backwards the first. Shuffled, terms that cancel
            each other are neighbours no more.
    """

    value: Array
    format: Format = FLOAT32
    order: Order = "forwards"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def comparable(self) -> Array:
        return self.value

    def move(self, rearrange: Move) -> "Looped":
        return self._made(rearrange(self.value))

    def wide(self) -> "Looped":
        return self._made(self._computed())

    def join(self, others: Sequence["Looped"], axis: int) -> "Looped":
        return self._made(np.concatenate([part.value for part in (self, *others)], axis))

    def like(self, value: Array | float, error: Array | None = None, plain: Array | None = None) -> "Looped":
        return self._made(self._in_format(np.asarray(value if plain is None else plain)))

    def either(self, other: "Looped") -> "Looped":
        """The other array, which is the least accurate right result."""
        return other

    def dot(self, other: "Looped", bias: "Looped | None" = None, products: int | None = None) -> "Looped":
        if self.value.dtype.kind in "biu" and other.value.dtype.kind in "biu":
            exact = integer_product(self.value, other.value)
            return self._made(exact if bias is None else exact + bias.value)
        ndim = max(self.ndim, other.ndim)
        a = np.ascontiguousarray(np.moveaxis(self._in_format(self.value), -1, 0))[..., None]
        b = np.moveaxis(self._in_format(other.value), -2, 0)[..., None, :]
        a, b = (x.reshape(len(x), *(1,) * (ndim + 1 - x.ndim), *x.shape[1:]) for x in (a, b))
        a, b = self._ordered(a), self._ordered(b)
        with np.errstate(over="ignore", invalid="ignore"):
            shape = np.broadcast_shapes(a.shape[1:], b.shape[1:])
            last = None if bias is None else self._in_format(bias.value)
            if self.order == "backwards" and last is not None:  # as libraries do that start from the bias
                start = np.broadcast_to(last, shape).astype(a.dtype)
                return self._made(_add_products(start, a, b))
            start = a[0] * b[0] if len(a) else np.zeros(shape, a.dtype)
            total = _add_products(start, a[1:], b[1:])
            return self._made(total if last is None else total + last)

    def sum(self, axes: Axes) -> "Looped":
        if self.value.dtype.kind in "biu":
            return self._made(self.value.sum(axes, keepdims=True, dtype=counted(self.value)))
        return self._reduced(np.add, axes)

    def max(self, axes: Axes) -> "Looped":
        return self._made(largest(self.value, axes))

    def min(self, axes: Axes) -> "Looped":
        return self._made(self.value.min(axes, keepdims=True))

    def prod(self, axes: Axes) -> "Looped":
        return self._reduced(np.multiply, axes)

    def cumsum(self, axis: int) -> "Looped":
        x = self._computed()
        with np.errstate(over="ignore", invalid="ignore"):
            return self._made(np.add.accumulate(x, axis, dtype=counted(x)))

    def _reduced(self, operation: np.ufunc, axes: Axes) -> "Looped":
        """Reduce over these axes, one value after the other."""
        kept = tuple(axis for axis in range(self.ndim) if axis not in axes)
        terms = self._computed().transpose(*axes, *kept)
        terms = terms.reshape(prod(terms.shape[: len(axes)]), *terms.shape[len(axes) :])
        terms = self._ordered(terms)
        with np.errstate(over="ignore", invalid="ignore"):
            if len(terms) > max(terms[:1].size, 1):  # a long sum: NumPy adds up one after the other, too
                total = operation.accumulate(terms)[-1]
            else:
                total = reduce(operation, terms, np.full(terms.shape[1:], operation.identity, terms.dtype))
        return self._made(np.expand_dims(total, axes))

    def maximum(self, other: "Looped | float") -> "Looped":
        return self._with(np.maximum, other)

    def divided(self, n: int) -> "Looped":
        return self._with(np.divide, float(n))

    def apply(self, function: Function, *others: "Looped | float") -> "Looped":
        """The function with an error of its stated accuracy in a random direction, which counts as right.

        The accuracy includes half an ulp of the result for the last rounding, which is done here.
        """
        scalars = self.value.dtype if self.value.dtype.kind in "iu" else self.format.dtype
        rest = (one.value if isinstance(one, Looped) else np.asarray(one, scalars) for one in others)
        operands = [self._kept(one) for one in (self.value, *rest)]
        with np.errstate(all="ignore"):
            if function.exact:
                return self._made(self._kept(function.f(*operands)))
            value = function.f(*(self._in_format(one).astype(np.float64) for one in operands))
            u = self.format.u
            off = np.maximum(2 * function.ulps - 1, 0) * u * np.abs(value) + function.floor * u
            value = value + off / (1 + u) * np.random.default_rng(value.size).choice([-1.0, 1.0], value.shape)
        return self._made(self._in_format(value))

    def __add__(self, other: "Looped | float") -> "Looped":
        return self._with(np.add, other)

    def __mul__(self, other: "Looped | float") -> "Looped":
        return self._with(np.multiply, other)

    def __truediv__(self, other: "Looped | float") -> "Looped":
        return self._with(np.divide, other)

    def __rtruediv__(self, other: float) -> "Looped":
        return self._made(np.asarray(other)) / self

    def __neg__(self) -> "Looped":
        return self._made(-self.value)

    def __abs__(self) -> "Looped":
        return self._made(np.abs(self.value))

    def _ordered(self, terms: Array) -> Array:
        """The terms of a sum, along the first axis, as this loop takes them."""
        if self.order == "shuffled":
            return terms[np.random.default_rng(len(terms)).permutation(len(terms))]
        return terms[::-1] if self.order == "backwards" else terms

    def _with(self, operation: np.ufunc, other: "Looped | float") -> "Looped":
        own = self.value.dtype if self.value.dtype.kind in "iu" else None
        y = other.value if isinstance(other, Looped) else np.asarray(other, own)
        if self.value.dtype.kind in "biu" and y.dtype.kind in "biu":
            return self._made(operation(self.value, y))
        with np.errstate(all="ignore"):
            return self._made(operation(self._in_format(self.value), self._in_format(y)))

    def _computed(self) -> Array:
        """Floats in the candidate's format; integers unchanged, because they do not round."""
        return self.value if self.value.dtype.kind in "biu" else self._in_format(self.value)

    def _kept(self, x: Array) -> Array:
        """Floats in the format; integers, booleans and strings unchanged."""
        return x if format_of(x) is None else self._in_format(x)

    def _in_format(self, x: Array) -> Array:
        with np.errstate(over="ignore"):
            return x.astype(self.format.dtype, copy=False)

    def _made(self, value: Array) -> "Looped":
        watch = _WATCH.get()
        if watch is not None and not watch and value.dtype.name in FORMATS and not np.isfinite(value).all():
            watch.append(True)
        return replace(self, value=value)


_WATCH: ContextVar[list[bool] | None] = ContextVar("watch", default=None)


@contextmanager
def watched() -> Iterator[list[bool]]:
    """A list that is not empty as soon as a loop inside has met infinity or NaN: an overflow, most often."""
    met: list[bool] = []
    token = _WATCH.set(met)
    try:
        yield met
    finally:
        _WATCH.reset(token)


def _add_products(total: Array, a: Array, b: Array) -> Array:
    """total + Σ a[k]·b[k], one term after the other, in place.

    NumPy adds along the fastest axis in memory in pairs, and along any other axis as this loop does.
    """
    count = max(1, BLOCK // total.size) if total.size > 1 else 1
    terms = np.empty((count + 1, *total.shape), total.dtype)
    for start in range(0, len(a), count):
        left, right = a[start : start + count], b[start : start + count]
        some = terms[: len(left) + 1]
        some[0] = total
        np.multiply(left, right, out=some[1:])
        np.add.reduce(some, out=total)
    return total
