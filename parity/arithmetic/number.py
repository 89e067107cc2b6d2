"""The interface of arrays with exchangeable arithmetic, in which operators write their formulas.

An operator states its function once, with the operations below. With `Bounded` arrays the formula returns the
float64 value and the worst case of rounding; with `Looped` arrays, the result of a plain loop in the
candidate's format; with `Integers`, the exact value.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Self

import numpy as np

Array = np.ndarray
Move = Callable[[Array], Array]
Axes = tuple[int, ...]


@dataclass(frozen=True)
class Function:
    """An elementwise function: inexact in every library (exp), or exact (⌊x⌋, a > b).

    Attributes:
        name: the name of the function.
        f: its evaluation in float64; exact functions keep the dtype of integers and booleans.
        ulps: accuracy of implementations: |error| ≤ 2·ulps·u·|value|, for unit roundoff u.
        floor: an additional absolute error, in multiples of the unit roundoff of the format.
        monotone: whether f is monotone in each argument. Then the values at both ends of the arguments'
            intervals bound the error.
        slope: the largest |f'|, which bounds the error otherwise.
        source: the source of the accuracy, or how it was measured.
        exact: whether f rounds nothing (|x|, ⌊x⌋, a > b).
    """

    name: str
    f: Callable[..., Array]
    ulps: float | Array = 0.5
    floor: float = 0.0
    monotone: bool = False
    slope: float = np.inf
    source: str = ""
    exact: bool = False


class Number(ABC):
    """An array of real numbers in some arithmetic. All operands of a formula have the same arithmetic.

    `move`, `max`, `min`, `maximum`, `minimum`, negation and `abs` round nothing. Other operations round once
    per result, a `sum` or a `dot` once per addition and product. Sums and products of integers do not round.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]: ...

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    @abstractmethod
    def comparable(self) -> Array:
        """The values as NumPy numbers, up to a positive factor, for comparisons such as the largest value."""

    @property
    def doubtful(self) -> Array:
        """Where rounding may change the sign of a value."""
        return np.zeros(self.shape, bool)

    @abstractmethod
    def move(self, rearrange: Move) -> Self:
        """Apply `rearrange`, which moves, repeats or drops values or adds zeros: it is linear and exact."""

    @abstractmethod
    def wide(self) -> Self:
        """The same values in the type of the computation: a single copy instead of a copy per operation."""

    @abstractmethod
    def join(self, others: Sequence[Self], axis: int) -> Self:
        """This array and others, concatenated along an axis."""

    @abstractmethod
    def like(self, value: Array | float, error: Array | None = None, plain: Array | None = None) -> Self:
        """A constant of the formula, in this arithmetic.

        Args:
            value: the float64 value.
            error: the largest error of an implementation; None for its rounding to the format.
            plain: the value in a plain loop; None for `value`.
        """

    @abstractmethod
    def either(self, other: Self) -> Self:
        """This array, if a right implementation may return the values of `other` instead."""

    @abstractmethod
    def dot(self, other: Self, bias: Self | None = None, products: int | None = None) -> Self:
        """(..., m, n) · (..., n, p): sums of n products, with a bias as an additional term of each sum.

        Args:
            other: the second factor.
            bias: an array that broadcasts to the result.
            products: how many of the n products are not zero by construction; by default all.
        """

    @abstractmethod
    def sum(self, axes: Axes) -> Self:
        """Over these axes, which stay with length 1."""

    @abstractmethod
    def max(self, axes: Axes) -> Self:
        """Over these axes, which stay with length 1."""

    def min(self, axes: Axes) -> Self:
        """Over these axes, which stay with length 1."""
        return -((-self).max(axes))

    def prod(self, axes: Axes) -> Self:
        """The product over these axes, which stay with length 1; at least one value."""
        kept = tuple(axis for axis in range(self.ndim) if axis not in axes)
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(self.shape))
        factors = self.transpose(*axes, *kept).reshape(-1, *(self.shape[axis] for axis in kept))
        parts = [factors.move(lambda a, k=k: a[k]) for k in range(factors.shape[0])]  # type: ignore[misc]
        return reduce(lambda a, b: a * b, parts).reshape(*shape)

    def cumsum(self, axis: int) -> Self:
        """Along an axis, the sum of all values up to and with each."""
        axis %= self.ndim
        totals: list[Self] = []
        for k in range(self.shape[axis]):
            one = self.move(lambda a, k=k: np.take(a, [k], axis))  # type: ignore[misc]
            totals.append(totals[-1] + one if totals else one)
        return totals[0].join(totals[1:], axis) if totals else self

    @abstractmethod
    def maximum(self, other: "Self | float") -> Self: ...

    @abstractmethod
    def divided(self, n: int) -> Self:
        """Divided by an integer, or multiplied by its rounded reciprocal."""

    @abstractmethod
    def apply(self, function: Function, *others: "Self | float") -> Self:
        """A function of each value, and of those of other arrays, to its stated accuracy."""

    @abstractmethod
    def __add__(self, other: "Self | float") -> Self: ...

    @abstractmethod
    def __mul__(self, other: "Self | float") -> Self: ...

    @abstractmethod
    def __truediv__(self, other: "Self | float") -> Self: ...

    @abstractmethod
    def __neg__(self) -> Self: ...

    @abstractmethod
    def __abs__(self) -> Self: ...

    def __sub__(self, other: "Self | float") -> Self:
        return self + (-other)

    def __radd__(self, other: float) -> Self:
        return self + other

    def __rmul__(self, other: float) -> Self:
        return self * other

    @abstractmethod
    def __rtruediv__(self, other: float) -> Self: ...

    def __rsub__(self, other: float) -> Self:
        return -self + other

    def minimum(self, other: "Self | float") -> Self:
        """The smaller of each two."""
        return -((-self).maximum(-other))

    def mean(self, axes: Axes) -> Self:
        """Over these axes, which stay with length 1."""
        return self.sum(axes).divided(prod(self.shape[axis] for axis in axes))

    def affine(self, center: Self, scale: Self, shift: Self | None) -> Self:
        """(x − center) · scale + shift, computed as x · scale + (shift − center · scale)."""
        moved = -(center * scale)
        return self * scale + (moved if shift is None else shift + moved)

    def reshape(self, *shape: int) -> Self:
        """The same values in another shape."""
        return self.move(lambda a: a.reshape(shape))

    def transpose(self, *axes: int) -> Self:
        """Axes in another order."""
        return self.move(lambda a: a.transpose(axes))


FEW = 64  # values of a window, up to which NumPy is faster position by position


def largest(a: Array, axes: Axes) -> Array:
    """The maximum over these axes, which stay with length 1."""
    count = prod(a.shape[axis] for axis in axes)
    if not 0 < count <= FEW or count * 4 > a.size:
        return a.max(axis=axes, keepdims=True)
    for axis in axes:  # the rows of a window first: their neighbours in memory are the next columns
        taps = np.moveaxis(a, axis, 0)
        result = np.maximum(taps[0], taps[-1])
        for tap in taps[1:-1]:
            np.maximum(result, tap, out=result)  # in place: half the time of a new array for each
        a = np.expand_dims(result, axis)
    return a
