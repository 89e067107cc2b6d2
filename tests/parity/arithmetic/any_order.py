"""Right implementations in any order: a bound that one of them leaves is wrong.

Every sum and product is computed in the format, in an order, blocking and fusion drawn at random.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Self

import numpy as np

from parity.arithmetic import Array, Function, Looped
from parity.arithmetic.floats import FLOAT64, format_of
from parity.arithmetic.number import Axes, Number
from tests.parity.arithmetic.wrapped import Terms, Wrapped, factors, moved

Operation = Callable[[Array, Array], Array]


@dataclass
class Plan:
    """How one right implementation computes, and what it came upon.

    Attributes:
        rng: draws the order of each sum.
        rounded: names of operations, beside sums and products, that may round even small integers.
        overflowed: whether some step left the format. The standard model of rounding ends there.
        flushes: whether it takes subnormal numbers for zero, before and after each operation.
    """

    rng: np.random.Generator
    rounded: set[str] = field(default_factory=set)
    overflowed: bool = False
    flushes: bool = field(init=False)

    def __post_init__(self) -> None:
        self.flushes = self.heads()

    def heads(self) -> bool:
        """A coin."""
        return bool(self.rng.random() < 0.5)

    def total(self, terms: Terms, add: Operation = np.add) -> Array:
        """Σ terms, each addition rounded as their dtype does it: a random tree over random blocks."""
        if len(terms) <= 2:
            return reduce(add, terms)
        way = self.rng.integers(4)
        if way == 0:
            return reduce(add, terms)
        if way == 1:
            return _pairwise(terms, add)
        if way == 2:  # as SIMD registers do
            lanes = min(int(self.rng.choice([2, 3, 4, 8, 16])), len(terms) - 1)
            return self.total(np.stack([reduce(add, terms[k::lanes]) for k in range(lanes)]), add)
        cuts = np.sort(self.rng.choice(np.arange(1, len(terms)), self.rng.integers(1, len(terms) - 1), False))
        return self.total(np.stack([self.total(block, add) for block in np.split(terms, cuts)]), add)


def _pairwise(terms: Terms, add: Operation) -> Array:
    while len(terms) > 1:
        half = len(terms) // 2
        terms = np.concatenate([add(terms[:half], terms[half : 2 * half]), terms[2 * half :]])
    return terms[0]


@dataclass(frozen=True, eq=False)
class AnyOrder(Wrapped):
    """Values as some right implementation computes them in `format`: no order, fusion or library is known."""

    plan: Plan = field(default_factory=lambda: Plan(np.random.default_rng()))

    def _inexact(self, value: Array, *operands: Array) -> Self:
        if not np.isfinite(value).all() and all(np.isfinite(one).all() for one in operands):
            self.plan.overflowed = True
        return self._new(self._flushed(value))

    def _flushed(self, x: Array) -> Array:
        if not self.plan.flushes or format_of(x) is None:
            return x
        return np.where(np.abs(x) < self.format.flush, np.zeros_like(x), x)

    def _in_format(self, x: Array) -> Array:
        return self._flushed(super()._in_format(x))

    def wide(self) -> Self:
        return self if self._are_integers() else self._new(super()._in_format(self.value))

    def _total(self, terms: Terms, operation: np.ufunc = np.add) -> Array:
        return self.plan.total(terms, lambda a, b: self._flushed(operation(a, b)))

    def max(self, axes: Axes) -> Self:
        return self._new(self._flushed(super().max(axes).value))

    def min(self, axes: Axes) -> Self:
        return self._new(self._flushed(super().min(axes).value))

    def _constant(self, x: float | Array) -> Array:
        rounded = self._in_format(np.asarray(x))
        if not np.array_equal(rounded.astype(np.float64), np.asarray(x, np.float64), equal_nan=True):
            self.plan.rounded.add("constant")
        return rounded

    def like(self, value: Array | float, error: Array | None = None, plain: Array | None = None) -> Self:
        """The constant, or any number of the format that is as far from it as implementations may be."""
        value = np.asarray(value)
        if value.dtype.kind in "biu":
            return self._new(value)
        rounded = self._constant(value)
        if error is None or not np.any(error):
            return self._new(rounded)
        self.plan.rounded.add("like")
        with np.errstate(invalid="ignore"):
            moved = self._in_format(value + self.plan.rng.uniform(-1, 1, value.shape) * error)
            inside = np.abs(moved.astype(np.float64) - value) <= error
        return self._new(np.where(inside, moved, rounded))

    def place(self, value: Array, error: Array) -> Array:
        self.plan.rounded.add("place")
        return moved(value, self.plan.rng.uniform(-1, 1, value.shape) * error, error)

    def either(self, other: Looped) -> Self:
        return self._new(np.where(self.plan.rng.random(self.shape) < 0.5, self.value, other.value))

    def _added(self, terms: Terms) -> Array:
        with np.errstate(all="ignore"):
            return self._total(terms[self.plan.rng.permutation(len(terms))])

    def prod(self, axes: Axes) -> Self:
        if self._are_integers():
            return self._new(self.value.prod(axes, keepdims=True, dtype=self.value.dtype))
        terms = self._terms(axes)
        with np.errstate(all="ignore"):
            total = self._total(terms[self.plan.rng.permutation(len(terms))], np.multiply)
        return self._inexact(np.expand_dims(total, axes), terms)

    def cumsum(self, axis: int) -> Self:
        """One value after the other, or each sum by itself."""
        if self._are_integers():
            return self._new(self.value.cumsum(axis, dtype=self.value.dtype))
        if self.plan.heads() or self.shape[axis] == 0:
            return Number.cumsum(self, axis)
        terms = np.moveaxis(self._in_format(self.value), axis, 0)
        totals = np.stack([self._added(terms[: k + 1]) for k in range(len(terms))])
        return self._inexact(np.moveaxis(totals, 0, axis), terms)

    def dot(self, other: Looped, bias: Looped | None = None, products: int | None = None) -> Self:
        if self._are_integers(other.value):
            return self._new(Looped.dot(self, other, bias).value)
        left, right = self._in_format(self.value), self._in_format(other.value)
        order = self.plan.rng.permutation(left.shape[-1])
        a, b = factors(left, right)
        a, b = a[order], b[order]
        start = None if bias is None else self._in_format(bias.value)
        with np.errstate(all="ignore"):
            if self.format is not FLOAT64 and self.plan.heads():
                total = self._fused(a.astype(np.float64) * b.astype(np.float64), start, self.plan.heads())
            else:
                total = self._separate(self._flushed(a * b), start)
        return self._inexact(total, left, right, *(() if start is None else (start,)))

    def _separate(self, terms: Terms, bias: Array | None) -> Array:
        """Products that are rounded first; the bias comes first, last or between them."""
        if bias is not None:
            places = (0, len(terms), int(self.plan.rng.integers(len(terms) + 1)))
            place = places[self.plan.rng.integers(3)]
            extra = np.broadcast_to(bias, terms.shape[1:])[None]
            terms = np.concatenate([terms[:place], extra, terms[place:]])
        return self._total(terms) if len(terms) else np.zeros(terms.shape[1:], terms.dtype)

    def _fused(self, exact: Terms, bias: Array | None, first: bool) -> Array:
        """Fused multiply-add over several lanes: only the sums are rounded."""
        lanes = min(2 ** int(self.plan.rng.integers(4)), max(len(exact), 1))
        totals = np.zeros((lanes, *exact.shape[1:]), self.format.dtype)
        if bias is not None and first:
            totals[0] = bias
        for k, term in enumerate(exact):
            totals[k % lanes] = self._rounded_once(totals[k % lanes], term)
        total = self._total(totals)
        return total if bias is None or first else total + bias

    def _rounded_once(self, a: Array, exact: Array) -> Array:
        """a plus an exact product."""
        return self._flushed(self.format.round(_odd_sum(a.astype(np.float64), exact)))

    def affine(self, center: Looped, scale: Looped, shift: Looped | None) -> Self:
        """Either way of computing it, with and without fused multiply-add."""
        x, c, s = (self._new(self._in_format(one.value)) for one in (self, center, scale))
        if self.plan.heads():
            y = (x - c) * s
            return y if shift is None else y + shift
        moved = -(c * s)
        moved = moved if shift is None else moved + shift
        if self.format is FLOAT64 or self.plan.heads():
            return x * s + moved
        with np.errstate(all="ignore"):
            exact = x.value.astype(np.float64) * s.value.astype(np.float64)
            shape = np.broadcast_shapes(exact.shape, moved.shape)
            value = self._rounded_once(np.broadcast_to(moved.value, shape), np.broadcast_to(exact, shape))
        return self._inexact(value, x.value, s.value, moved.value)

    def divided(self, n: int) -> Self:
        x = self._in_format(self.value)
        divisor = np.asarray(n, self.format.dtype)
        if n & (n - 1):
            self.plan.rounded.add("divided")
        with np.errstate(all="ignore"):
            by_reciprocal = x * (np.asarray(1, self.format.dtype) / divisor)
            value = by_reciprocal if self.plan.heads() else x / divisor
        return self._inexact(value, x)

    def apply(self, function: Function, *others: Looped | float) -> Self:
        """The function, off by a random part of its stated accuracy, as a number of the format."""
        arguments = self._arguments(others)
        with np.errstate(all="ignore"):
            if function.exact:
                value = np.asarray(function.f(*arguments))
                return self._new(self._kept(value))
            true = np.asarray(function.f(*(one.astype(np.float64) for one in arguments)))
            value = self._in_format(true)
            self.plan.rounded.add(function.name)
            allowed = 2 * function.ulps * self.format.u * np.abs(true) + function.floor * self.format.u
            other = self._in_format(true + allowed * self.plan.rng.uniform(-1, 1, true.shape))
            value = np.where(np.abs(other.astype(np.float64) - true) <= allowed, other, value)
        return self._inexact(value, true)

    def _binary(self, operation: np.ufunc, a: Array, b: Array) -> Self:
        """A quotient may be the product with the rounded reciprocal."""
        value = operation(a, b)
        if operation is not np.divide:
            return self._inexact(value, a, b)
        self.plan.rounded.add("/")
        if self.plan.heads():
            value = a * (np.asarray(1, self.format.dtype) / b)
        due = bool((b == 0).any())  # an infinity that the formula asks for
        return self._new(value) if due else self._inexact(value, a, b)


def _odd_sum(a: Array, b: Array) -> Array:
    """a + b in float64 rounded to odd, so that rounding it again to a shorter format is as if rounded once.

    S. Boldo, G. Melquiond, When double rounding is odd, 2004.
    """
    total = a + b
    back = total - a
    rest = (a - (total - back)) + (b - back)
    bits = total.view(np.int64)
    even = (bits & 1 == 0) & (rest != 0) & np.isfinite(total)
    away = (rest > 0) == (total > 0)
    return np.where(even, np.where(away, bits + 1, bits - 1), bits).view(np.float64)
