"""Numbers as integers on a grid: the arithmetic in which nothing rounds.

Every finite float is an integer times a power of two. Arrays of them are kept in int64, whose own
overflow is excluded beforehand in Python's integers.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from lenet.errors import LenetError

Array = np.ndarray


class TooWide(LenetError):
    """Numbers that int64 cannot hold: up to `bound` times 2^`exponent`, at `unit` of `name`."""

    def __init__(self, name: str, bound: int, exponent: int, unit: tuple[int, ...] = ()) -> None:
        super().__init__(f"{name}: needs {bound.bit_length()} bits, int64 has 63; take exact weights")
        self.name, self.bound, self.exponent, self.unit = name, bound, exponent, unit


@dataclass(frozen=True)
class Dyadic:
    """Numbers on a grid: `units` (int64, any shape) times 2^`exponent`."""

    units: Array
    exponent: int

    def __abs__(self) -> "Dyadic":
        return self.map(np.abs(self.units))

    def map(self, units: Array) -> "Dyadic":
        """Other units on the same grid."""
        return Dyadic(units, self.exponent)

    def peak(self) -> int:
        """The largest magnitude, in grids, as a Python integer."""
        return max(-int(self.units.min(initial=0)), int(self.units.max(initial=0)))

    def to_float(self, dtype: str = "float32") -> Array:
        """The same numbers in `dtype`, exactly.

        Raises:
            LenetError: one of them is not representable, or only as a subnormal.
        """
        limits, width = np.finfo(dtype), self.peak().bit_length()
        floats = self.units.astype(dtype)
        lossless = width < 63 and np.array_equal(floats.astype(np.int64), self.units)
        if not lossless or self.exponent < limits.minexp or width + self.exponent > limits.maxexp:
            raise LenetError(
                f"{self.peak()} · 2^{self.exponent} or a smaller value is no {dtype}: it would round"
            )
        return np.ldexp(floats, self.exponent)


def dyadic(x: Array | float, name: str = "input") -> Dyadic:
    """Finite floats on the coarsest grid that holds them all; exponent 0 where all are zero.

    Raises:
        LenetError: a NaN or an infinity; `name` says whose.
        TooWide: their exponents lie further apart than int64 is wide.
    """
    if not np.isfinite(x).all():
        raise LenetError(f"{name}: a NaN or an infinity lies on no grid")
    fractions, exponents = np.frexp(np.asarray(x, np.float64))
    units = np.ldexp(fractions, 53).astype(np.int64)  # 53 bits: every float64, and so every float32
    trailing = np.frexp((units & -units).astype(np.float64))[1].clip(1) - 1  # zeros below the last one
    lowest = (exponents - 53 + trailing)[units != 0]  # the exponent of each value's last one
    if not lowest.size:
        return Dyadic(units, 0)
    exponent = int(lowest.min())
    width = int(exponents[units != 0].max()) - exponent
    if width > 62:
        raise TooWide(name, 1 << width, exponent)
    lift = np.where(units == 0, 0, exponents - 53 + trailing - exponent)
    return Dyadic((units >> trailing) << lift, exponent)


def add(name: str, *terms: Dyadic) -> Dyadic:
    """The sum of arrays that broadcast, on the finest of their grids.

    Raises:
        TooWide: a sum could leave int64.
    """
    exponent, lifts = common_grid(*((term.peak(), term.exponent) for term in terms))
    check_width(name, sum(term.peak() << lift for term, lift in zip(terms, lifts, strict=True)), exponent)
    lifted = (term.units << lift for term, lift in zip(terms, lifts, strict=True))
    return Dyadic(reduce(np.add, lifted), exponent)


def common_grid(*terms: tuple[int, int]) -> tuple[int, list[int]]:
    """For (peak, exponent) of each term: the finest exponent, and how far to shift each onto its grid."""
    finest = min((exponent for peak, exponent in terms if peak), default=terms[0][1])
    return finest, [exponent - finest if peak else 0 for peak, exponent in terms]  # zeros are on any grid


def scale(name: str, factor: float, x: Dyadic) -> Dyadic:
    """factor · x, on the product of their grids.

    Raises:
        TooWide: a product could leave int64.
    """
    by = dyadic(factor, name)
    check_width(name, by.peak() * x.peak(), by.exponent + x.exponent)
    return Dyadic(by.units * x.units, by.exponent + x.exponent)


def check_width(name: str, bound: int, exponent: int, unit: tuple[int, ...] = ()) -> None:
    """Raise TooWide unless `bound`, a Python integer, fits into int64."""
    if bound.bit_length() > 63:
        raise TooWide(name, bound, exponent, unit)
