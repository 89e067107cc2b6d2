"""Tensors made from sizes, counts and comparisons."""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import numpy as np

from parity.arithmetic import Array, Number
from parity.errors import Unjudged
from parity.operators.cast import exactly, type_of
from parity.operators.element_types import element_type
from parity.operators.operator import Operator, plain_values, register


@register
@dataclass(frozen=True)
class ConstantOfShape(Operator):
    """A tensor filled with one value; its shape is the input."""

    TYPE: ClassVar[str] = "ConstantOfShape"

    value: Array | None = None

    def evaluate(self, shape: Number) -> Number:
        one = np.zeros(1, np.float32) if self.value is None else self.value
        wanted = tuple(int(n) for n in plain_values(shape, "a shape"))
        return exactly(np.broadcast_to(one.reshape(()), wanted), shape)


@register
@dataclass(frozen=True)
class EyeLike(Operator):
    """Ones on diagonal k, zeros elsewhere, in the shape of the input."""

    TYPE: ClassVar[str] = "EyeLike"
    TYPES: ClassVar[tuple[str, ...]] = ("dtype",)

    dtype: int = 0
    k: int = 0

    def evaluate(self, x: Number) -> Number:
        kind = element_type(self.dtype) if self.dtype else type_of(x)
        return exactly(np.eye(x.shape[0], x.shape[1], self.k).astype(kind), x)


@register
@dataclass(frozen=True)
class Range(Operator):
    """start, start + delta, ... below limit.

    For floats a runtime may add up the steps or multiply: the bound is that of a sum of all steps.
    """

    TYPE: ClassVar[str] = "Range"

    def evaluate(self, start: Number, limit: Number, delta: Number) -> Number:
        first, last, step = (plain_values(one, "an end of a range") for one in (start, limit, delta))
        count = max(ceil((last.item() - first.item()) / step.item()), 0)
        if first.dtype.kind in "iu":
            return exactly((first.item() + step.item() * np.arange(count)).astype(first.dtype), start)
        if not count:
            return start.reshape(1).move(lambda a: a[:0])
        steps = delta.move(lambda a: np.repeat(a.reshape(1), count - 1))
        return start.reshape(1).join([steps], 0).cumsum(0)


@register
@dataclass(frozen=True)
class NonZero(Operator):
    """The positions of values that are not zero: one index for each axis, (axes, found)."""

    TYPE: ClassVar[str] = "NonZero"

    def evaluate(self, x: Number) -> Number:
        found = np.nonzero(plain_values(x, "a value to be tested against zero"))
        return exactly(np.array(found, np.int64).reshape(x.ndim, -1), x)


@register
@dataclass(frozen=True)
class Unique(Operator):
    """The distinct values of x, and the index at which each occurs first.

    Further outputs: for each value of x its index among the distinct values, and how often each occurs.
    """

    TYPE: ClassVar[str] = "Unique"

    axis: int | None = None
    sorted: int = 1

    def evaluate(self, x: Number) -> tuple[Number, ...]:
        values = plain_values(x, "a value to be compared")
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise Unjudged("Unique of NaNs")
        _, first, inverse, counts = np.unique(values, True, True, True, axis=self.axis)
        inverse = inverse.reshape(-1)
        if not self.sorted:
            order = np.argsort(first)
            first, counts, inverse = first[order], counts[order], np.argsort(order)[inverse]
        kept = values.reshape(-1)[first] if self.axis is None else np.take(values, first, self.axis)
        return exactly(kept, x), *(exactly(one.astype(np.int64), x) for one in (first, inverse, counts))
