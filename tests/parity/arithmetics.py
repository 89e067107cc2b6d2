"""Two arithmetics that only the tests use: right implementations in any order, and the worst that may be.

Both take the place of `Looped` in an operator's formula:
- `AnyOrder` computes in a format, every sum in an order, blocking and fusion drawn at random. A bound that it
  leaves is wrong.
- `Adversary` pushes each rounding to its limit. A bound that it does not come near is too wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from math import prod
from typing import Any, Self

import numpy as np

from parity.arithmetic import Array, Function, Looped
from parity.arithmetic.number import Axes, Move
from parity.floats import FLOAT64

Terms = Array  # (n, ...): to be added up over the first axis


@dataclass
class Plan:
    """How one right implementation computes, and what it came upon.

    Attributes:
        rng: draws the order of each sum.
        rounded: names of operations, beside sums and products, that may round even small integers.
        overflowed: whether some step left the format. The standard model of rounding ends there.
    """

    rng: np.random.Generator
    rounded: set[str] = field(default_factory=set)
    overflowed: bool = False

    def total(self, terms: Terms) -> Array:
        """Σ terms, each addition rounded as their dtype does it: a random tree over random blocks."""
        if len(terms) <= 2:
            return reduce(np.add, terms)
        way = self.rng.integers(4)
        if way == 0:
            return reduce(np.add, terms)
        if way == 1:
            return _pairwise(terms)
        if way == 2:  # as SIMD registers do
            lanes = min(int(self.rng.choice([2, 3, 4, 8, 16])), len(terms) - 1)
            return self.total(np.stack([reduce(np.add, terms[k::lanes]) for k in range(lanes)]))
        cuts = np.sort(self.rng.choice(np.arange(1, len(terms)), self.rng.integers(1, len(terms) - 1), False))
        return self.total(np.stack([self.total(block) for block in np.split(terms, cuts)]))


def _pairwise(terms: Terms) -> Array:
    while len(terms) > 1:
        half = len(terms) // 2
        terms = np.concatenate([terms[:half] + terms[half : 2 * half], terms[2 * half :]])
    return terms[0]


class _Wrapped(Looped):
    """What both arithmetics share: moving and selecting values, and integers, which stay exact."""

    def _new(self, value: Array) -> Self:
        return replace(self, value=value)

    def _inexact(self, value: Array, *operands: Array) -> Self:
        """The result of an operation that rounds."""
        raise NotImplementedError

    def move(self, rearrange: Move) -> Self:
        return self._new(rearrange(self.value))

    def wide(self) -> Self:
        return self._new(self._in_format(self.value))

    def join(self, others: Sequence[Looped], axis: int) -> Self:
        parts: list[Looped] = [self, *others]
        return self._new(np.concatenate([part.value for part in parts], axis))

    def max(self, axes: Axes) -> Self:
        return self._new(self.value.max(axes, keepdims=True))

    def maximum(self, other: Looped | float) -> Self:
        y = other.value if isinstance(other, Looped) else np.asarray(other)
        if self.value.dtype.kind in "biu" and y.dtype.kind in "biu":
            return self._new(np.maximum(self.value, y))
        return self._new(np.maximum(self._in_format(self.value), self._in_format(y)))

    def sum(self, axes: Axes) -> Self:
        if self.value.dtype.kind in "biu":
            return self._new(self.value.sum(axes, keepdims=True))
        kept = tuple(axis for axis in range(self.ndim) if axis not in axes)
        terms = self._in_format(self.value).transpose(*axes, *kept)
        terms = terms.reshape(prod(terms.shape[: len(axes)]), *terms.shape[len(axes) :])
        total = self._added(terms) if len(terms) else np.zeros(terms.shape[1:], terms.dtype)
        return self._inexact(np.expand_dims(total, axes), terms)

    def _added(self, terms: Terms) -> Array:
        raise NotImplementedError

    def _true(self, function: Function, others: Sequence[Looped | float]) -> Array:
        """A function of these operands in float64."""
        operands = (self, *others)
        values = (np.asarray(one.value if isinstance(one, Looped) else one) for one in operands)
        return np.asarray(function.f(*(self._in_format(one).astype(np.float64) for one in values)))

    def _exact(self, function: Function, others: Sequence[Looped | float]) -> Array:
        """A function that rounds nothing: integers and booleans stay what they are."""
        scalars = self.value.dtype if self.value.dtype.kind in "iu" else self._in_format(np.zeros(1)).dtype
        values = [
            one.value if isinstance(one, Looped) else np.asarray(one, scalars) for one in (self, *others)
        ]
        value = np.asarray(
            function.f(*(x if x.dtype.kind in "biuSUO" else self._in_format(x) for x in values))
        )
        return value if value.dtype.kind in "biuSUO" else self._in_format(value)

    def __neg__(self) -> Self:
        return self._new(-self.value)

    def __abs__(self) -> Self:
        return self._new(np.abs(self.value))


@dataclass(frozen=True, eq=False)
class AnyOrder(_Wrapped):
    """Values as some right implementation computes them in `format`: no order, fusion or library is known."""

    plan: Plan = field(default_factory=lambda: Plan(np.random.default_rng()))

    def _inexact(self, value: Array, *operands: Array) -> Self:
        if not np.isfinite(value).all() and all(np.isfinite(one).all() for one in operands):
            self.plan.overflowed = True
        return self._new(value)

    def _added(self, terms: Terms) -> Array:
        with np.errstate(all="ignore"):
            return self.plan.total(terms[self.plan.rng.permutation(len(terms))])

    def dot(self, other: Looped, bias: Looped | None = None, products: int | None = None) -> Self:
        left, right = self._in_format(self.value), self._in_format(other.value)
        rng = self.plan.rng
        order = rng.permutation(left.shape[-1])
        a, b = _factors(left, right)
        a, b = a[order], b[order]
        start = None if bias is None else self._in_format(bias.value)
        with np.errstate(all="ignore"):
            if self.format is not FLOAT64 and rng.random() < 0.5:
                total = self._fused(
                    a.astype(np.float64) * b.astype(np.float64), start, bool(rng.random() < 0.5)
                )
            else:
                total = self._separate(a * b, start)
        return self._inexact(total, left, right, *(() if start is None else (start,)))

    def _separate(self, terms: Terms, bias: Array | None) -> Array:
        """Products that are rounded first; the bias comes first, last or between them."""
        if bias is not None:
            places = (0, len(terms), int(self.plan.rng.integers(len(terms) + 1)))
            place = places[self.plan.rng.integers(3)]
            extra = np.broadcast_to(bias, terms.shape[1:])[None]
            terms = np.concatenate([terms[:place], extra, terms[place:]])
        return self.plan.total(terms) if len(terms) else np.zeros(terms.shape[1:], terms.dtype)

    def _fused(self, exact: Terms, bias: Array | None, first: bool) -> Array:
        """Fused multiply-add over several lanes: only the sums are rounded."""
        lanes = min(2 ** int(self.plan.rng.integers(4)), max(len(exact), 1))
        totals = np.zeros((lanes, *exact.shape[1:]), self.format.dtype)
        if bias is not None and first:
            totals[0] = bias
        for k, term in enumerate(exact):
            totals[k % lanes] = self.format.round(_odd_sum(totals[k % lanes].astype(np.float64), term))
        total = self.plan.total(totals)
        return total if bias is None or first else total + bias

    def divided(self, n: int) -> Self:
        x = self._in_format(self.value)
        divisor = np.asarray(n, self.format.dtype)
        if n & (n - 1):
            self.plan.rounded.add("divided")
        with np.errstate(all="ignore"):
            value = x / divisor
            if self.plan.rng.random() < 0.5:
                value = x * (np.asarray(1, self.format.dtype) / divisor)
        return self._inexact(value, x)

    def apply(self, function: Function, *others: Looped | float) -> Self:
        """The function, off by a random part of its stated accuracy, as a number of the format."""
        with np.errstate(all="ignore"):
            if function.exact:
                return self._new(self._exact(function, others))
            true = self._true(function, others)
            self.plan.rounded.add(function.name)
            allowed = 2 * function.ulps * self.format.u * np.abs(true) + function.floor * self.format.u
            off = self._in_format(np.asarray(true + allowed * self.plan.rng.uniform(-1, 1, true.shape)))
            fits = np.abs(off.astype(np.float64) - true) <= allowed
            value = np.where(fits, off, self._in_format(true))
        return self._inexact(value, true)

    def __add__(self, other: Looped | float) -> Self:
        return self._each(np.add, other)

    def __mul__(self, other: Looped | float) -> Self:
        return self._each(np.multiply, other)

    def __truediv__(self, other: Looped | float) -> Self:
        self.plan.rounded.add("/")
        return self._each(np.divide, other)

    def _each(self, operation: np.ufunc, other: Looped | float) -> Self:
        y = other.value if isinstance(other, Looped) else np.asarray(other)
        if self.value.dtype.kind in "biu" and y.dtype.kind in "biu":
            return self._new(operation(self.value, y))
        a, b = self._in_format(self.value), self._in_format(y)
        with np.errstate(all="ignore"):
            value = operation(a, b)
        due = operation is np.divide and bool((b == 0).any())  # an infinity that the formula asks for
        return self._new(value) if due else self._inexact(value, a, b)


def _factors(a: Array, b: Array) -> tuple[Array, Array]:
    """(..., m, n) and (..., n, p) as (n, ..., m, 1) and (n, ..., 1, p), whose product holds all terms."""
    ndim = max(a.ndim, b.ndim)
    a, b = (one.reshape((1,) * (ndim - one.ndim) + one.shape) for one in (a, b))
    return np.moveaxis(a, -1, 0)[..., None], np.moveaxis(b, -2, 0)[..., None, :]


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


@dataclass(frozen=True, eq=False)
class Adversary(_Wrapped):
    """Values as they can become at worst: each rounding is off by the unit roundoff, in a chosen direction.

    Sums start with their largest terms, which are then rounded most often. Values are held in float64.

    Attributes:
        way: direction of each rounding: "up", "down", "away" from zero, "toward" it, or "random".
    """

    way: str = "away"
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    WAYS = ("up", "down", "away", "toward", "random")

    def _in_format(self, x: Array) -> Array:
        return np.asarray(x).astype(np.float64)

    def _inexact(self, value: Array, *operands: Array) -> Self:
        return self._new(value)

    def _off(self, x: Array, by: Array) -> Array:
        """x, changed by up to `by` in this adversary's direction."""
        sign: Any = {"up": 1.0, "down": -1.0, "away": np.sign(x), "toward": -np.sign(x)}.get(self.way)
        if sign is None:
            sign = self.rng.choice([-1.0, 1.0], x.shape)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(x), x + sign * by, x)

    def _round(self, x: Array, underflows: bool = True) -> Array:
        """x, rounded as wrongly as may be. A sum does not underflow: below the normal numbers it is exact."""
        least = 2.0 ** (self.format.lowest - self.format.digits)  # half a smallest number
        below = (np.abs(x) < self.format.tiny) & (x != 0)
        return self._off(x, np.where(below, least * underflows, self.format.u * np.abs(x)))

    def _added(self, terms: Terms) -> Array:
        terms = np.take_along_axis(terms, np.argsort(-np.abs(terms), axis=0), axis=0)
        return reduce(self._plus, terms)

    def _plus(self, a: Array, b: Array) -> Array:
        """a + b; adding zero rounds nothing."""
        total = a + b
        return np.where((a == 0) | (b == 0), total, self._round(total, underflows=False))

    def dot(self, other: Looped, bias: Looped | None = None, products: int | None = None) -> Self:
        a, b = _factors(self._in_format(self.value), self._in_format(other.value))
        terms = self._round(a * b)
        if bias is not None:
            terms = np.concatenate(
                [terms, np.broadcast_to(self._in_format(bias.value), terms.shape[1:])[None]]
            )
        return self._new(self._added(terms) if len(terms) else np.zeros(terms.shape[1:]))

    def divided(self, n: int) -> Self:
        x = self._in_format(self.value)
        if not n & (n - 1):
            return self._new(x / n)
        return self._new(self._round(self._round(x / n)))

    def apply(self, function: Function, *others: Looped | float) -> Self:
        with np.errstate(all="ignore"):
            if function.exact:
                return self._new(self._exact(function, others))
            value = self._true(function, others)
            by = 2 * function.ulps * self.format.u * np.abs(value) + function.floor * self.format.u
            return self._new(self._off(value, by))

    def __add__(self, other: Looped | float) -> Self:
        return self._each(np.add, other, underflows=False)

    def __mul__(self, other: Looped | float) -> Self:
        return self._each(np.multiply, other)

    def __truediv__(self, other: Looped | float) -> Self:
        return self._each(np.divide, other)

    def _each(self, operation: np.ufunc, other: Looped | float, underflows: bool = True) -> Self:
        y = other.value if isinstance(other, Looped) else np.asarray(other)
        if self.value.dtype.kind in "biu" and y.dtype.kind in "biu":
            return self._new(operation(self.value, y))
        with np.errstate(all="ignore"):
            return self._new(
                self._round(operation(self._in_format(self.value), self._in_format(y)), underflows)
            )
