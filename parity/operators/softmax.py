"""Softmax and its relatives: each row of a tensor becomes shares that add up to 1.

Before opset 13 a row is everything from `axis` on, as if the tensor were flattened to two axes; since
then it is the values along `axis` alone. The formula subtracts the row's maximum and divides by the
sum; an implementation that multiplies by the reciprocal of the sum, or leaves out the maximum, rounds no
more than that. LogSoftmax subtracts the maximum first and the logarithm last. A known bug is to subtract
both at once, as log Σ e^x: it loses the digits of rows whose values are large and lie close together
(PyTorch, issue 11752).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from parity.arithmetic import Array, Number
from parity.arithmetic.floats import Format
from parity.errors import Unjudged
from parity.operators import functions as known
from parity.operators.cast import exactly
from parity.operators.operator import Operator, Points, plain_values, register, rows


@dataclass(frozen=True)
class _Rows(Operator):
    """A function of rows.

    Attributes:
        axis: the axis of a row, or the first of its axes.
        to_the_end: whether a row is everything from `axis` on (before opset 13).
    """

    axis: int = -1
    to_the_end: bool = False

    @classmethod
    def read(cls, attributes: Mapping[str, Any], opset: int) -> Self:
        if opset >= 13:
            return super().read(attributes, opset)
        return replace(super().read({"axis": 1, **attributes}, opset), to_the_end=True)

    def evaluate(self, x: Number) -> Number:
        return self.of_rows(x, self._axes(x))

    def of_rows(self, x: Number, axes: tuple[int, ...]) -> Number:
        """The function of rows along these axes."""
        raise NotImplementedError

    def sample(self, points: Points, x: Number) -> Number:
        axes, count = self._axes(x), len(points[0])
        kept = [axis for axis in range(x.ndim) if axis not in axes]
        if kept:
            seen = rows(x, axes, [points[axis] for axis in kept])
        else:
            seen = x.move(lambda a: np.broadcast_to(a.ravel(), (count, a.size)))
        sizes = tuple(x.shape[axis] for axis in axes)
        place = np.ravel_multi_index(tuple(points[axis] for axis in axes), sizes)
        return self.of_rows(seen, (1,)).move(lambda a: a[np.arange(count), place])

    def terms(self, x: Number) -> int:
        return prod(x.shape[axis] for axis in self._axes(x))

    def shared(self, x: Number) -> int:
        return self.terms(x)

    def _axes(self, x: Number) -> tuple[int, ...]:
        axis = normalize_axis_index(self.axis, x.ndim)
        return tuple(range(axis, x.ndim)) if self.to_the_end else (axis,)


@register
@dataclass(frozen=True)
class Softmax(_Rows):
    """e^x / Σ e^x."""

    TYPE: ClassVar[str] = "Softmax"

    def of_rows(self, x: Number, axes: tuple[int, ...]) -> Number:
        powers = (x - x.max(axes)).apply(known.EXP)
        return powers / powers.sum(axes)

    def inputs_of(self, output: Array, form: Format) -> tuple[Array, ...]:
        """The logarithms of the shares, which are 0 where e^x is too small for the format."""
        return (np.log(np.maximum(output.astype(np.float64), form.smallest)),)


@register
@dataclass(frozen=True)
class LogSoftmax(_Rows):
    """x − log Σ e^x."""

    TYPE: ClassVar[str] = "LogSoftmax"

    def of_rows(self, x: Number, axes: tuple[int, ...]) -> Number:
        shifted = x - x.max(axes)
        return shifted - shifted.apply(known.EXP).sum(axes).apply(known.LOG)


@register
@dataclass(frozen=True)
class Hardmax(_Rows):
    """1 at the first largest value of a row, 0 elsewhere."""

    TYPE: ClassVar[str] = "Hardmax"

    def of_rows(self, x: Number, axes: tuple[int, ...]) -> Number:
        a = plain_values(x, "Hardmax of a tensor")
        if np.isnan(a.astype(np.float64)).any():
            raise Unjudged("Hardmax of NaNs")
        rows = np.moveaxis(a, axes, range(-len(axes), 0))
        flat = rows.reshape(*rows.shape[: a.ndim - len(axes)], -1)
        ones = np.arange(flat.shape[-1]) == flat.argmax(-1)[..., None]
        ones = np.moveaxis(ones.reshape(rows.shape), range(-len(axes), 0), axes)
        return exactly(ones.astype(a.dtype), x)
