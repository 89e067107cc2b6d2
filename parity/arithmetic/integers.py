"""Exact arithmetic: every finite float is an integer times a power of two.

Arrays of integers on a common grid are added and multiplied in int64, whose own overflow is excluded
beforehand in Python's integers. Nothing rounds; what cannot be computed so is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NoReturn

import numpy as np

from parity.arithmetic.number import Array, Axes, Function, Move, Number
from parity.errors import Unjudged, UserError

WIDTHS = ((np.float32, 24), (np.float64, 53))  # floats that add integers of so many bits exactly


class TooWide(UserError):
    """Numbers that int64 cannot hold: up to `bound` times 2^`exponent`.

    Attributes:
        name: whose; set by who knows it.
        unit: index of the output unit whose sum is the largest.
    """

    def __init__(self, bound: int, exponent: int, unit: tuple[int, ...] = (), name: str = "a sum") -> None:
        super().__init__(bound, exponent)
        self.bound, self.exponent, self.unit, self.name = bound, exponent, unit, name

    def __str__(self) -> str:
        return f"{self.name}: needs {self.bound.bit_length()} bits, int64 has 63; take exact weights"


@dataclass(frozen=True, eq=False)
class Integers(Number):
    """Numbers on a grid: `units` (int64, any shape) times 2^`exponent`."""

    units: Array
    exponent: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.units.shape

    @property
    def comparable(self) -> Array:
        return self.units

    def peak(self) -> int:
        """The largest magnitude, in grids, as a Python integer."""
        return max(-int(self.units.min(initial=0)), int(self.units.max(initial=0)))

    def to_float(self, dtype: str = "float32") -> Array:
        """The same numbers in `dtype`, exactly.

        Raises:
            UserError: one of them is not representable, or only as a subnormal.
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
        return self

    def join(self, others: Sequence["Integers"], axis: int) -> "Integers":
        exponent, parts = on_one_grid(self, *others)
        return Integers(np.concatenate(parts, axis), exponent)

    def dot(
        self, other: "Integers", bias: "Integers | None" = None, products: int | None = None
    ) -> "Integers":
        rows = self._row_loads() * other.peak()
        exponent = self.exponent + other.exponent
        load = int(rows.max(initial=0))
        check_width(load, exponent, _unit(rows))
        y = Integers(_product(self.units, other.units, load), exponent)
        return y if bias is None else y + bias

    def _row_loads(self) -> Array:
        """Σ|a| over the last axis, as Python integers."""
        narrow = self.peak() * max(1, self.shape[-1]) < 1 << 63
        return np.abs(self.units).sum(axis=-1, dtype=np.int64 if narrow else object).astype(object)

    def sum(self, axes: Axes) -> "Integers":
        terms = prod(self.shape[axis] for axis in axes)
        check_width(self.peak() * terms, self.exponent)
        return Integers(self.units.sum(axis=axes, keepdims=True), self.exponent)

    def max(self, axes: Axes) -> "Integers":
        return Integers(self.units.max(axis=axes, keepdims=True), self.exponent)

    def maximum(self, other: "Integers | float") -> "Integers":
        exponent, (a, b) = on_one_grid(self, self._operand(other))
        return Integers(np.maximum(a, b), exponent)

    def divided(self, n: int) -> "Integers":
        if n & (n - 1):
            self._refuse(f"a division by {n}")
        return Integers(self.units, self.exponent - (n.bit_length() - 1))

    def apply(self, function: Function) -> "Integers":
        self._refuse(function.name)

    def __add__(self, other: "Integers | float") -> "Integers":
        y = self._operand(other)
        exponent, (lift, other_lift) = common_grid((self.peak(), self.exponent), (y.peak(), y.exponent))
        check_width((self.peak() << lift) + (y.peak() << other_lift), exponent)
        return Integers((self.units << lift) + (y.units << other_lift), exponent)

    def __mul__(self, other: "Integers | float") -> "Integers":
        y = self._operand(other)
        check_width(self.peak() * y.peak(), self.exponent + y.exponent)
        return Integers(self.units * y.units, self.exponent + y.exponent)

    def __truediv__(self, other: "Integers | float") -> "Integers":
        self._refuse("a division")

    def __neg__(self) -> "Integers":
        return Integers(-self.units, self.exponent)

    def __abs__(self) -> "Integers":
        return Integers(np.abs(self.units), self.exponent)

    def _operand(self, other: "Integers | float") -> "Integers":
        return other if isinstance(other, Integers) else integers(np.asarray(other, np.float64))

    def _refuse(self, what: str) -> NoReturn:
        raise Unjudged(f"{what} in exact integers")


def integers(x: Array | float, name: str = "input") -> Integers:
    """Finite floats on the coarsest grid that holds them all; exponent 0 where all are zero.

    Raises:
        UserError: a NaN or an infinity; `name` says whose.
        TooWide: their exponents lie further apart than int64 is wide.
    """
    if not np.isfinite(x).all():
        raise UserError(f"{name}: a NaN or an infinity lies on no grid")
    fractions, exponents = np.frexp(np.asarray(x, np.float64))
    units = np.ldexp(fractions, 53).astype(np.int64)  # 53 bits: every float64, and so every float32
    trailing = np.frexp((units & -units).astype(np.float64))[1].clip(1) - 1  # zeros below the last one
    lowest = (exponents - 53 + trailing)[units != 0]  # the exponent of each value's last one
    if not lowest.size:
        return Integers(units, 0)
    exponent = int(lowest.min())
    width = int(exponents[units != 0].max()) - exponent
    if width > 62:
        raise TooWide(1 << width, exponent, name=name)
    lift = np.where(units == 0, 0, exponents - 53 + trailing - exponent)
    return Integers((units >> trailing) << lift, exponent)


def common_grid(*terms: tuple[int, int]) -> tuple[int, list[int]]:
    """For (peak, exponent) of each term: the finest exponent, and how far to shift each onto its grid."""
    finest = min((exponent for peak, exponent in terms if peak), default=terms[0][1])
    return finest, [exponent - finest if peak else 0 for peak, exponent in terms]  # zeros are on any grid


def on_one_grid(*arrays: Integers) -> tuple[int, list[Array]]:
    """The finest exponent of all, and each array's units on its grid.

    Raises:
        TooWide: one does not fit there.
    """
    exponent, lifts = common_grid(*((array.peak(), array.exponent) for array in arrays))
    for array, lift in zip(arrays, lifts, strict=True):
        check_width(array.peak() << lift, exponent)
    return exponent, [array.units << lift for array, lift in zip(arrays, lifts, strict=True)]


def check_width(bound: int, exponent: int, unit: tuple[int, ...] = ()) -> None:
    """Raise TooWide unless `bound`, a Python integer, fits into int64."""
    if int(bound).bit_length() > 63:
        raise TooWide(int(bound), exponent, unit)


def _product(a: Array, b: Array, load: int) -> Array:
    """a·b, no sum of whose magnitudes exceeds `load`: below 2^24 float32 and below 2^53 float64 add integers
    exactly, in whatever order, and many times as fast."""
    for floats, width in WIDTHS:
        if load < 2**width:
            return (a.astype(floats) @ b.astype(floats)).astype(np.int64)
    return a @ b


def _unit(rows: Array) -> tuple[int, ...]:
    """Index of the largest sum among the output units, the last axis."""
    return (int(rows.argmax() % rows.shape[-1]),) if rows.size else ()
