"""What a formula is written in: arrays whose arithmetic can be exchanged.

An operator states its function once, in the operations below. Given `Bounded` arrays the formula returns
the float64 value and the worst case of rounding; given `Looped` ones, what a plain loop in the candidate's
format returns; given `Integers`, the exact value.
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
    """A function that no library rounds correctly, such as exp, or that rounds nothing, such as ⌊x⌋ or a > b.

    Attributes:
        name: as it is called.
        f: evaluates it in float64, elementwise; an exact one keeps integers and booleans in their own dtype.
        ulps: accuracy of implementations: |error| ≤ 2·ulps·u·|value|, for unit roundoff u.
        floor: absolute error allowed beside that, in multiples of the unit roundoff of the format.
        monotone: whether it rises everywhere, or falls everywhere, in each argument while the others stay.
            Then errors of the arguments are carried by the values at both ends of their intervals.
        slope: the largest |f'|, which carries them otherwise.
        source: who states the accuracy, or how it was measured.
        exact: f rounds nothing (|x|, ⌊x⌋, a > b), so that no accuracy is lost.
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
    """An array of real numbers in one arithmetic. Operands of one formula share it.

    Operations that round nothing are `move`, `max`, `min`, `maximum`, `minimum`, negation and `abs`; all
    others round once for each result, a `sum` or a `dot` once for each addition and product. Integers are
    added and multiplied without rounding.
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
        """The values as NumPy numbers, up to a positive factor, for decisions: which is the largest."""

    @property
    def doubtful(self) -> Array:
        """Where rounding may put a value on either side of zero."""
        return np.zeros(self.shape, bool)

    @abstractmethod
    def move(self, rearrange: Move) -> Self:
        """Values moved, repeated, dropped or joined by zeros: `rearrange` is linear and rounds nothing."""

    @abstractmethod
    def wide(self) -> Self:
        """The same values, held as the arithmetic computes with them: a copy once, not in every operation."""

    @abstractmethod
    def join(self, others: Sequence[Self], axis: int) -> Self:
        """This array and others, concatenated along an axis."""

    @abstractmethod
    def like(self, value: Array | float, error: Array | None = None, plain: Array | None = None) -> Self:
        """A constant of the formula, in this arithmetic.

        Args:
            value: in float64.
            error: how far an implementation may be from it; None: it has this value, rounded to its format.
            plain: what a plain loop has in its place; None: the value.
        """

    @abstractmethod
    def either(self, other: Self) -> Self:
        """This array, where a right implementation may return the other's value instead."""

    @abstractmethod
    def dot(self, other: Self, bias: Self | None = None, products: int | None = None) -> Self:
        """(..., m, n) · (..., n, p): sums of n products, and a bias that is one more term of each sum.

        Args:
            other: the second factor.
            bias: broadcasts to the result.
            products: how many of the n are not zero by construction; by default all.
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
    inner = np.moveaxis(a, axes, range(len(axes)))
    taps = [inner[index] for index in np.ndindex(inner.shape[: len(axes)])]
    result = np.maximum(taps[0], taps[-1])
    for tap in taps[1:-1]:
        np.maximum(result, tap, out=result)  # in place: half the time of a new array for each
    return np.expand_dims(result, axes)
