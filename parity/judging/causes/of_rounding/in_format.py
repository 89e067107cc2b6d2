"""Operators that are computed in a shorter format, with its overflows if they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.arithmetic.floats import Format, format_of
from parity.arithmetic.number import Axes, Function
from parity.judging.beyond_the_bound import distance, over
from parity.judging.causes.mistake import Inputs
from parity.operators import Operator
from parity.operators.operator import Points


@dataclass(frozen=True)
class InFormat(Operator):
    """An operator that is computed in a shorter format, from inputs that are rounded to it or not.

    Attributes:
        right: the operator.
        form: the format.
    """

    TYPE: ClassVar[str] = "in_format"

    right: Operator
    form: Format

    def evaluate(self, *inputs: Number | None) -> Number | tuple[Number, ...]:
        return self._long(self.right.first, inputs)

    def sample(self, points: Points, *inputs: Number | None) -> Number:
        return self._long(lambda *some: self.right.sample(points, *some), inputs)

    def _long(self, compute: Callable[..., Number], inputs: Inputs) -> Number:
        """The result in the candidate's format; what is too large for the shorter one is infinite."""
        own = next(x.format for x in inputs if isinstance(x, Bounded | Looped))
        y = compute(*(None if x is None else self._rounded(x) for x in inputs))
        if isinstance(y, Looped):
            return replace(y, value=y.value.astype(own.dtype), format=own)
        assert isinstance(y, Bounded)
        return replace(_overflowed(y, self.form), format=own)

    def _rounded(self, x: Number) -> Number:
        assert isinstance(x, Bounded | Looped)
        if format_of(x.value) is None:
            return replace(x, format=self.form)
        value = self.form.round(x.value).astype(x.value.dtype)
        if isinstance(x, Looped):
            return replace(x, value=value, format=self.form)
        error = x.bound + np.abs(value.astype(np.float64) - x.value.astype(np.float64))
        return Bounded(value, error, self.form)


@dataclass(frozen=True)
class Overflowing(InFormat):
    """The same; where a value on the way leaves the format, what becomes of infinity: zero or NaN, say."""

    def _long(self, compute: Callable[..., Number], inputs: Inputs) -> Number:
        y = super()._long(compute, inputs)
        if not isinstance(y, Bounded):
            return y
        some: Any = compute(
            *(None if x is None else Summed(self.form.round(x.comparable), self.form) for x in inputs)
        )
        seen = some.value.astype(np.float64)
        off = distance(seen, y.value.astype(np.float64), y.bound, self.form)
        beyond = over(off, y.bound) > 1  # a bound holds but for overflows
        return Bounded(np.where(beyond, seen, y.value), np.where(beyond, 0.0, y.bound), y.format)


@dataclass(frozen=True, eq=False)
class Summed(Looped):
    """Every result in the format, of products and terms that are added up in a longer one."""

    def dot(self, other: Looped, bias: Looped | None = None, products: int | None = None) -> "Summed":
        if self.value.dtype.kind in "biu":
            return Summed(super().dot(other, bias, products).value, self.format)
        total = _long(self) @ _long(other)
        return self._short(total if bias is None else total + _long(bias))

    def sum(self, axes: Axes) -> "Summed":
        if self.value.dtype.kind in "biu":
            return Summed(super().sum(axes).value, self.format)
        return self._short(_long(self).sum(axes, keepdims=True))

    def mean(self, axes: Axes) -> "Summed":
        return self._short(_long(self).mean(axes, keepdims=True))

    def apply(self, function: Function, *others: Looped | float) -> "Summed":
        """Without the error that is added to a plain loop: of infinity it makes NaN."""
        if function.exact:
            return Summed(super().apply(function, *others).value, self.format)
        rest = (one.value if isinstance(one, Looped) else np.asarray(one, np.float64) for one in others)
        operands = (self._in_format(one).astype(np.float64) for one in (self.value, *rest))
        return self._short(np.asarray(function.f(*operands)))

    def _short(self, value: Array) -> "Summed":
        return Summed(self._in_format(value), self.format)


def _long(x: Looped) -> Array:
    return x.value.astype(np.float64)


def _overflowed(y: Bounded, form: Format) -> Bounded:
    """y, infinite where it is too large for the format."""
    value = y.value.astype(np.float64)
    near = np.where(np.isinf(y.bound), 0.0, y.bound)
    surely = np.abs(value) - near > form.largest * (1 + form.u)
    return Bounded(np.where(surely, np.sign(value) * np.inf, value), y.error, y.format)
