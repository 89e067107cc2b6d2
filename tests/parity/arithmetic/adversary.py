"""The worst implementation that is right: a bound that it does not come near is too wide."""

from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Self

import numpy as np

from parity.arithmetic import Array, Function, Looped
from parity.arithmetic.floats import format_of
from parity.arithmetic.number import Axes, Number
from tests.parity.arithmetic.wrapped import Terms, Wrapped, factors, moved


@dataclass(frozen=True, eq=False)
class Adversary(Wrapped):
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

    def _kept(self, x: Array) -> Array:
        return x if format_of(x) is None else self._in_format(x)

    def _inexact(self, value: Array, *operands: Array) -> Self:
        return self._new(value)

    def _direction(self, x: Array) -> Any:
        """The sign of the error of a value: a number or an array."""
        ways: dict[str, Any] = {"up": 1.0, "down": -1.0, "away": np.sign(x), "toward": -np.sign(x)}
        return ways[self.way] if self.way in ways else self.rng.choice([-1.0, 1.0], x.shape)

    def _off(self, x: Array, by: Array) -> Array:
        """x, changed by up to `by` in this adversary's direction."""
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(x), x + self._direction(x) * by, x)

    def _round(self, x: Array, underflows: bool = True) -> Array:
        """x, rounded as wrongly as may be. A sum does not underflow: below the normal numbers it is exact."""
        least = 2.0 ** (self.format.lowest - self.format.digits)  # half a smallest number
        below = (np.abs(x) < self.format.tiny) & (x != 0)
        return self._off(x, np.where(below, least * underflows, self.format.u * np.abs(x)))

    def _constant(self, x: float | Array) -> Array:
        """Rounded as wrongly as may be, unless it is a number of the format."""
        value = np.asarray(x, np.float64)
        return np.where(self.format.round(value) == value, value, self._round(value))

    def like(self, value: Array | float, error: Array | None = None, plain: Array | None = None) -> Self:
        value = np.asarray(value)
        if value.dtype.kind in "biu":
            return self._new(value)
        if error is None:
            return self._new(self._constant(value))
        return self._new(self._off(value.astype(np.float64), np.asarray(error)))

    def place(self, value: Array, error: Array) -> Array:
        return moved(value, self._direction(value) * error, error)

    def either(self, other: Looped) -> Self:
        """The one that lies further in this adversary's direction."""
        first, second = self._in_format(self.value), self._in_format(other.value)
        with np.errstate(invalid="ignore"):
            further = (second - first) * self._direction(first) > 0
        return self._new(np.where(further, second, first))

    def _added(self, terms: Terms) -> Array:
        terms = np.take_along_axis(terms, np.argsort(-np.abs(terms), axis=0), axis=0)
        return reduce(self._plus, terms)

    def _plus(self, a: Array, b: Array) -> Array:
        """a + b; adding zero rounds nothing."""
        total = a + b
        return np.where((a == 0) | (b == 0), total, self._round(total, underflows=False))

    def prod(self, axes: Axes) -> Self:
        return Number.prod(self, axes)

    def cumsum(self, axis: int) -> Self:
        return Number.cumsum(self, axis)

    def dot(self, other: Looped, bias: Looped | None = None, products: int | None = None) -> Self:
        if self._are_integers(other.value):
            return self._new(Looped.dot(self, other, bias).value)
        a, b = factors(self._in_format(self.value), self._in_format(other.value))
        terms = self._round(a * b)
        if bias is not None:
            last = np.broadcast_to(self._in_format(bias.value), terms.shape[1:])[None]
            terms = np.concatenate([terms, last])
        return self._new(self._added(terms) if len(terms) else np.zeros(terms.shape[1:]))

    def divided(self, n: int) -> Self:
        x = self._in_format(self.value)
        if not n & (n - 1):
            return self._new(x / n)
        return self._new(self._round(self._round(x / n)))

    def apply(self, function: Function, *others: Looped | float) -> Self:
        with np.errstate(all="ignore"):
            value = np.asarray(function.f(*self._arguments(others)))
            if not function.exact:
                by = 2 * function.ulps * self.format.u * np.abs(value) + function.floor * self.format.u
                value = self._off(value, by)
        return self._new(value)

    def _binary(self, operation: np.ufunc, a: Array, b: Array) -> Self:
        """A quotient may be the product with the rounded reciprocal."""
        value = self._round(operation(a, b), underflows=operation is not np.add)
        return self._new(self._round(value) if operation is np.divide else value)
