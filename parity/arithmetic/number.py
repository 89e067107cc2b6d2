"""What a formula is written in: arrays whose arithmetic can be exchanged.

An operator states its function once, in the operations below. Given `Bounded` arrays the formula returns
the float64 value and the worst case of rounding; given `Looped` ones, what a plain loop in the candidate's
format returns; given `Integers`, the exact value.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np

Array = np.ndarray
Move = Callable[[Array], Array]
Axes = tuple[int, ...]


@dataclass(frozen=True)
class Function:
    """A function of one real variable, such as exp, that no library rounds correctly.

    Attributes:
        name: as it is called.
        f: evaluates it in float64, elementwise.
        ulps: accuracy of implementations: distance from the true value in units in the last place.
        floor: absolute error allowed beside that, in multiples of the unit roundoff of the format.
        monotone: whether it rises everywhere, or falls everywhere. Then an error of the argument is carried
            by the values at both ends of its interval.
        slope: the largest |f'|, which carries it otherwise.
        source: who states the accuracy, or how it was measured.
        exact: f rounds nothing (|x|, ⌊x⌋), so that no accuracy is lost.
    """

    name: str
    f: Callable[[Array], Array]
    ulps: float = 0.5
    floor: float = 0.0
    monotone: bool = False
    slope: float = np.inf
    source: str = ""
    exact: bool = False


class Number(ABC):
    """An array of real numbers in one arithmetic. Operands of one formula share it.

    Operations that round nothing are `move`, `max`, `maximum`, `minimum`, negation and `abs`; all others
    round once for each result, a `sum` or a `dot` once for each addition and product.
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

    @abstractmethod
    def maximum(self, other: "Self | float") -> Self: ...

    @abstractmethod
    def divided(self, n: int) -> Self:
        """Divided by an integer, or multiplied by its rounded reciprocal."""

    @abstractmethod
    def apply(self, function: Function) -> Self:
        """A function of each value, to its stated accuracy."""

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

    def __rsub__(self, other: float) -> Self:
        return -self + other

    def minimum(self, other: "Self | float") -> Self:
        """The smaller of each two."""
        return -((-self).maximum(-other))

    def mean(self, axes: Axes) -> Self:
        """Over these axes, which stay with length 1."""
        return self.sum(axes).divided(prod(self.shape[axis] for axis in axes))

    def reshape(self, *shape: int) -> Self:
        """The same values in another shape."""
        return self.move(lambda a: a.reshape(shape))

    def transpose(self, *axes: int) -> Self:
        """Axes in another order."""
        return self.move(lambda a: a.transpose(axes))
