"""Exact arithmetic: every finite float is an integer times a power of two.

Arrays of integers on a common grid are added and multiplied in int64, after a check in Python's integers that
nothing can overflow. No operation rounds; operations that would round are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NoReturn

import numpy as np

from parity.arithmetic.number import Array, Axes, Function, Move, Number, largest
from parity.errors import Unjudged, UserError

NARROW = (np.int16, np.int32)
WIDTHS = ((np.float32, 24), (np.float64, 53))  # floats that add integers of so many bits exactly


class TooWide(UserError):
    """Numbers up to `bound` · 2^`exponent`, which int64 cannot hold.

    Attributes:
        name: the array with these numbers, set where it is known.
        unit: the index of the output unit with the largest sum.
    """

    def __init__(self, bound: int, exponent: int, unit: tuple[int, ...] = (), name: str = "a sum") -> None:
        super().__init__(bound, exponent)
        self.bound, self.exponent, self.unit, self.name = bound, exponent, unit, name

    def __str__(self) -> str:
        return f"{self.name}: needs {self.bound.bit_length()} bits, int64 has 63; take exact weights"


@dataclass(frozen=True, eq=False)
class Integers(Number):
    """Numbers on a grid: `units` (any shape) times 2^`exponent`.

    The units are int64, or narrower ones where `wide` found that they fit.
    """

    units: Array
    exponent: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.units.shape

    @property
    def comparable(self) -> Array:
        return self.units

    @cached_property
    def _peak(self) -> int:
        return max(-int(self.units.min(initial=0)), int(self.units.max(initial=0)))

    def peak(self) -> int:
        """The largest magnitude, in grids, as a Python integer."""
        return self._peak

    def _lifted(self, lift: int) -> Array:
        """The units times 2^`lift`, in int64, which holds them."""
        return np.left_shift(self.units, lift, dtype=np.int64)

    def _loads(self, axis: int) -> Array:
        """Σ|x| over an axis, as Python integers."""
        narrow = self.peak() * self.shape[axis] < 1 << 63
        return np.abs(self.units).sum(axis=axis, dtype=np.int64 if narrow else object).astype(object)

    def to_float(self, dtype: str = "float32") -> Array:
        """The same numbers in `dtype`, without rounding.

        Raises:
            UserError: a number is not representable, or only as a subnormal number, or it has 63 bits.
        """
        limits, width = np.finfo(dtype), self.peak().bit_length()
        floats = self.units.astype(dtype)
        lossless = width < 63 and np.array_equal(floats.astype(np.int64), self.units)
        if not lossless or self.exponent < limits.minexp or width + self.exponent > limits.maxexp:
            raise UserError(
                f"{self.peak()} · 2^{self.exponent} or a smaller value is no {dtype}: it would round"
            )
        return np.ldexp(floats, self.exponent)

    def move(self, rearrange: Move) -> "Integers":
        return Integers(rearrange(self.units), self.exponent)

    def wide(self) -> "Integers":
        """In the narrowest type that holds them: what is moved about, and then multiplied, is smaller."""
        kind = next((one for one in NARROW if self.peak() <= np.iinfo(one).max), np.int64)
        return Integers(self.units.astype(kind, copy=False), self.exponent)

    def join(self, others: Sequence["Integers"], axis: int) -> "Integers":
        exponent, parts = on_one_grid(self, *others)
        return Integers(np.concatenate(parts, axis), exponent)

    def like(
        self, value: Array | float, error: Array | None = None, plain: Array | None = None
    ) -> "Integers":
        if error is not None and error.any():
            self._refuse("a constant that implementations round")
        return integers(value)

    def either(self, other: "Integers") -> "Integers":
        if any((one != two).any() for one, two in [on_one_grid(self, other)[1]]):
            self._refuse("a choice that rounding decides")
        return self

    def dot(
        self, other: "Integers", bias: "Integers | None" = None, products: int | None = None
    ) -> "Integers":
        exponent = self.exponent + other.exponent
        loads = self._loads(-1) * other.peak()  # the largest sum in each row
        load = int(loads.max(initial=0))
        if load >= 1 << WIDTHS[0][1]:  # too much for the fastest product: perhaps the columns' are smaller
            columns = other._loads(-2) * self.peak()
            loads = min(loads, columns, key=lambda loads: int(loads.max()))
            load = int(loads.max())
        if bias is None:
            check_width(load, exponent, _unit(loads))
            return Integers(product(self.units, other.units, load), exponent)
        grid, (lift, bias_lift) = common_grid((load, exponent), (bias.peak(), bias.exponent))
        check_width((load << lift) + (bias.peak() << bias_lift), grid, _unit(loads))
        return Integers((product(self.units, other.units, load) << lift) + bias._lifted(bias_lift), grid)

    def sum(self, axes: Axes) -> "Integers":
        if self.peak() * prod(self.shape[axis] for axis in axes) >= 1 << 63:
            loads = np.abs(self.units).sum(axis=axes, dtype=object, keepdims=True)
            check_width(int(loads.max()), self.exponent)
        return Integers(self.units.sum(axis=axes, keepdims=True), self.exponent)

    def max(self, axes: Axes) -> "Integers":
        return Integers(largest(self.units, axes), self.exponent)

    def min(self, axes: Axes) -> "Integers":
        return Integers(self.units.min(axis=axes, keepdims=True), self.exponent)

    def prod(self, axes: Axes) -> "Integers":
        terms = prod(self.shape[axis] for axis in axes)
        check_width(self.peak() ** terms, self.exponent * terms)
        return Integers(self.units.prod(axis=axes, keepdims=True), self.exponent * terms)

    def cumsum(self, axis: int) -> "Integers":
        check_width(self.peak() * self.shape[axis], self.exponent)
        return Integers(self.units.cumsum(axis), self.exponent)

    def maximum(self, other: "Integers | float") -> "Integers":
        if not isinstance(other, Integers) and other == 0:  # on any grid
            return Integers(np.maximum(self.units, 0), self.exponent)
        exponent, (a, b) = on_one_grid(self, self._operand(other))
        return Integers(np.maximum(a, b), exponent)

    def divided(self, n: int) -> "Integers":
        if n & (n - 1):
            self._refuse(f"a division by {n}")
        return Integers(self.units, self.exponent - (n.bit_length() - 1))

    def apply(self, function: Function, *others: "Integers | float") -> "Integers":
        self._refuse(function.name)

    def __add__(self, other: "Integers | float") -> "Integers":
        y = self._operand(other)
        exponent, (lift, other_lift) = common_grid((self.peak(), self.exponent), (y.peak(), y.exponent))
        check_width((self.peak() << lift) + (y.peak() << other_lift), exponent)
        return Integers(self._lifted(lift) + y._lifted(other_lift), exponent)

    def __mul__(self, other: "Integers | float") -> "Integers":
        y = self._operand(other)
        check_width(self.peak() * y.peak(), self.exponent + y.exponent)
        return Integers(self._lifted(0) * y._lifted(0), self.exponent + y.exponent)

    def __rtruediv__(self, other: float) -> "Integers":
        self._refuse("a division")

    def __truediv__(self, other: "Integers | float") -> "Integers":
        self._refuse("a division")

    def __neg__(self) -> "Integers":
        return Integers(-self.units, self.exponent)

    def __abs__(self) -> "Integers":
        return Integers(np.abs(self.units), self.exponent)

    def _operand(self, other: "Integers | float") -> "Integers":
        return other if isinstance(other, Integers) else integers(other)

    def _refuse(self, what: str) -> NoReturn:
        raise Unjudged(f"{what} in exact integers")


def integers(x: Array | float, name: str = "input") -> Integers:
    """Finite floats as integers on the coarsest grid that contains all of them; exponent 0 if all are zero.

    Raises:
        UserError: there is a NaN or an infinity in the array `name`.
        TooWide: the range of exponents is too wide for int64.
    """
    if not np.isfinite(x).all():
        raise UserError(f"{name}: a NaN or an infinity lies on no grid")
    fractions, exponents = np.frexp(np.asarray(x, np.float64))
    units = np.ldexp(fractions, 53).astype(np.int64)  # 53 bits: every float64, and so every float32
    trailing = np.frexp((units & -units).astype(np.float64))[1] - 1  # zeros below the last one
    lowest = (exponents - 53 + trailing)[units != 0]  # the exponent of each value's last one
    if not lowest.size:
        return Integers(units, 0)
    exponent = int(lowest.min())
    width = int(exponents[units != 0].max()) - exponent
    if width > 62:
        raise TooWide(1 << width, exponent, name=name)
    lift = exponents - 53 + trailing - exponent  # zero stays zero, however far NumPy shifts it
    return Integers((units >> trailing) << lift, exponent)


def common_grid(*terms: tuple[int, int]) -> tuple[int, list[int]]:
    """For (peak, exponent) of each term: the finest exponent, and the shift of each term to its grid."""
    finest = min((exponent for peak, exponent in terms if peak), default=terms[0][1])
    return finest, [exponent - finest if peak else 0 for peak, exponent in terms]  # zeros are on any grid


def on_one_grid(*arrays: Integers) -> tuple[int, list[Array]]:
    """The finest exponent of all, and the units of each array on its grid.

    Raises:
        TooWide: an array does not fit there.
    """
    exponent, lifts = common_grid(*((array.peak(), array.exponent) for array in arrays))
    units = []
    for array, lift in zip(arrays, lifts, strict=True):
        check_width(array.peak() << lift, exponent)
        units.append(array._lifted(lift))
    return exponent, units


def check_width(bound: int, exponent: int, unit: tuple[int, ...] = ()) -> None:
    """Raise TooWide unless `bound`, a Python integer, fits into int64."""
    if int(bound).bit_length() > 63:
        raise TooWide(int(bound), exponent, unit)


def product(a: Array, b: Array, load: int) -> Array:
    """a·b, no sum of whose magnitudes exceeds `load`: below 2^24 float32 and below 2^53 float64 add integers
    exactly, in whatever order, and many times as fast."""
    for floats, width in WIDTHS:
        if load < 2**width:
            return (a.astype(floats) @ b.astype(floats)).astype(np.int64)
    return a.astype(np.int64) @ b.astype(np.int64)


def _unit(loads: Array) -> tuple[int, ...]:
    """Index of the largest load along the last axis."""
    return (int(loads.argmax() % loads.shape[-1]),) if loads.size else ()
