"""Values and worst cases of rounding as rational numbers, one number at a time: what `Bounded` must equal.

Each operation states its formula once more, from what a candidate may do (N. Higham, Accuracy and Stability
of Numerical Algorithms, 2nd ed., sections 2.1 and 3.1; what underflows; what is taken for zero). Nothing is
rounded here, except functions to a hundred digits. An operator's statement is written with these operations.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product as every_corner
from typing import Any

import numpy as np

from parity.arithmetic.floats import U64, Format
from tests.parity.arithmetic import real_functions as real
from tests.parity.arithmetic.rational import both, gamma, lost, of_dot, of_sum

UNBOUNDED = Fraction(10) ** 2000  # an error that any value is within
FAR = Fraction(10) ** 1000  # an error above this is unbounded
U = Fraction(U64)
ROUGH = 8 * U  # how far a function's value in float64 is from the true one, relative to it
Real = Callable[[Fraction], Fraction]


@dataclass(frozen=True)
class At:
    """In which format a candidate computes.

    Attributes:
        form: the format.
        ends: how far, relative to it, the end of an interval that is computed in float64 may be off. 0 states
            the formula itself.
    """

    form: Format
    ends: Fraction = Fraction(0)

    def holds(self, x: Fraction) -> bool:
        """Whether a number is one of the format's."""
        return Fraction(float(self.form.round(np.array(float(x))))) == x

    def constant(self, x: Fraction | float) -> "Stated":
        """A constant of a formula: a number of the format, or rounded to one."""
        exact = Fraction(x)
        return Stated(exact, Fraction(0), self, recorded=True) if self.holds(exact) else self.rounded(exact)

    def rounded(self, x: Fraction) -> "Stated":
        """A number that is rounded to the format, or lost because it is so small."""
        size, form = abs(x), self.form
        off = size if not size or size < form.flush else Fraction(form.u) * max(size, Fraction(form.tiny))
        return Stated(x, off, self)

    def exactly(self, x: Fraction | float) -> "Stated":
        """A value that every candidate has."""
        return Stated(Fraction(x), Fraction(0), self)


@dataclass(frozen=True)
class Stated:
    """A value, and how far a right candidate may be from it.

    Attributes:
        value: exact.
        error: of the candidate's value.
        at: in which format it computes.
        recorded: whether it is a value of the file, which a candidate may yet take for zero.
    """

    value: Fraction
    error: Fraction
    at: At
    recorded: bool = False

    def flushed(self) -> "Stated":
        """With zero inside the interval, if the value is so small that it may be taken for it."""
        small = self.recorded and abs(self.value) < self.at.form.flush
        return replace(self, error=abs(self.value) if small else self.error, recorded=False)

    def _operand(self, other: Any) -> "Stated":
        return other if isinstance(other, Stated) else self.at.constant(other)

    def rounded(self, value: Fraction, carried: Fraction, roundings: int, least: Fraction) -> "Stated":
        """A value that is rounded so often, and underflows at most by `least` unless it is zero."""
        own = both(roundings, self.at.form) * (abs(value) + carried)
        return Stated(value, carried + own + (least if value or carried else 0), self.at)

    def __neg__(self) -> "Stated":
        return replace(self, value=-self.value)

    def __abs__(self) -> "Stated":
        return replace(self, value=abs(self.value))

    def __add__(self, other: Any) -> "Stated":
        y = self._operand(other)
        return self.rounded(self.value + y.value, self.error + y.error, 1, 2 * Fraction(self.at.form.flush))

    def __sub__(self, other: Any) -> "Stated":
        return self + -self._operand(other)

    def __mul__(self, other: Any) -> "Stated":
        x, y = self.flushed(), self._operand(other).flushed()
        carried = abs(x.value) * y.error + x.error * abs(y.value) + x.error * y.error
        return self.rounded(x.value * y.value, carried, 1, lost(self.at.form))

    def __truediv__(self, other: Any) -> "Stated":
        """Or the product with the rounded reciprocal, which may underflow by itself."""
        x, y = self.flushed(), self._operand(other).flushed()
        value, safe = x.value / y.value, abs(y.value) - y.error
        off = x.error + abs(value) * y.error
        carried = Fraction(0) if off == 0 and safe > 0 else off / safe if safe > 0 else UNBOUNDED
        return self.rounded(value, carried, 2, lost(self.at.form) * (1 + abs(x.value)))

    def __radd__(self, other: Any) -> "Stated":
        return self + other

    def __rsub__(self, other: Any) -> "Stated":
        return -self + other

    def __rmul__(self, other: Any) -> "Stated":
        return self * other

    def __rtruediv__(self, other: Any) -> "Stated":
        return self._operand(other) / self

    def divided(self, n: int) -> "Stated":
        """By an integer: by a power of two exactly, else twice rounded, as a product with 1/n is."""
        if n == 1:
            return self
        return self.rounded(self.value / n, self.error / n, 2 if n & (n - 1) else 0, lost(self.at.form))

    def within(self, ends: Iterable[Fraction], value: Fraction | None = None) -> "Stated":
        """The value, whose interval ends where the farthest of these lies."""
        value = self.value if value is None else value
        reached = list(ends)
        far = max((abs(end - value) for end in reached), default=Fraction(0))
        room = self.at.ends * max((abs(end) for end in reached), default=Fraction(0)) if far else Fraction(0)
        return Stated(value, far + room, self.at)

    def interval(self) -> tuple[Fraction, Fraction]:
        """Both ends, which are computed in float64 and rounded outwards."""
        far = self.error + (self.at.ends * abs(self.value) if self.error else 0)
        return self.value - far, self.value + far

    def function(
        self,
        f: Real,
        ulps: float,
        floor: float = 0.0,
        slope: float | None = None,
        monotone: bool = True,
    ) -> "Stated":
        """A function, off by at most 2·ulps·u·|value| + floor·u.

        Args:
            f: the function.
            ulps, floor: how accurate libraries are.
            slope: the largest derivative.
            monotone: whether its values at both ends of an interval are the largest and smallest.
        """
        x, form = self.flushed(), self.at.form
        value = f(x.value)
        carried = Fraction(0)
        if x.error:
            carried = UNBOUNDED if slope is None else Fraction(slope) * x.error
            if monotone:
                carried = min(carried, x.within([f(end) for end in x.interval()], value).error)
        own = (2 * Fraction(ulps) * Fraction(form.u) + ROUGH) * (abs(value) + carried)
        least = Fraction(floor) * Fraction(form.u) + Fraction(form.smallest) + 2 * Fraction(form.flush)
        return Stated(value, carried + own + least, self.at)


def maximum(x: Stated, other: Stated | float) -> Stated:
    """The larger of two: its interval ends where the higher of both ends."""
    return largest([x, x._operand(other)])


def minimum(x: Stated, other: Stated | float) -> Stated:
    return -maximum(-x, -x._operand(other))


def largest(terms: Sequence[Stated]) -> Stated:
    """The largest value. What is small may be taken for zero before it is compared, or afterwards."""
    first = terms[0]
    value = max(one.value for one in terms)
    if all(one.recorded for one in terms):
        # Whether a zero may be another small number depends on what else is in the array.
        small = abs(value) < first.at.form.flush and (value or first.at.ends)
        return Stated(value, (abs(value) + Fraction(first.at.form.flush)) if small else Fraction(0), first.at)
    known = [one.flushed() for one in terms]
    highest = max(one.value + one.error for one in known)
    room = first.at.ends * abs(highest) if any(one.error for one in known) else Fraction(0)
    return Stated(value, highest - value + room, first.at)


def total(terms: Sequence[Stated]) -> Stated:
    """Σ terms, in any order."""
    return terms[0].flushed() if len(terms) == 1 else _sum(terms)


def _sum(terms: Sequence[Stated]) -> Stated:
    values, errors, at = [one.value for one in terms], [one.error for one in terms], terms[0].at
    return Stated(sum(values, Fraction(0)), of_sum(values, errors, at.form), at)


def mean(terms: Sequence[Stated]) -> Stated:
    return total(terms).divided(len(terms))


def running(terms: Sequence[Stated]) -> list[Stated]:
    """The sum up to each term; an implementation may start from zero plus the first."""
    return [_sum(terms[: k + 1]) for k in range(len(terms))]


def multiplied(terms: Sequence[Stated]) -> Stated:
    """Π terms: n − 1 roundings, and each product may underflow before larger factors follow."""
    if len(terms) == 1:
        return terms[0].flushed()
    at, value, size, reach = terms[0].at, Fraction(1), Fraction(1), Fraction(1)
    for one in terms:
        value *= one.value
        size *= abs(one.value) + one.error
        reach *= max(abs(one.value) + one.error, Fraction(1))
    carried = size - abs(value)
    if size == 0:
        return Stated(value, Fraction(0), at)
    least = len(terms) * (lost(at.form) + Fraction(at.form.flush)) * reach
    return Stated(value, carried + both(len(terms) - 1, at.form) * size + least, at)


def dot(
    a: Sequence[Stated], b: Sequence[Stated], bias: Stated | None = None, products: int | None = None
) -> Stated:
    """Σ a·b + bias, in any order, fused or not."""
    x, y = [one.flushed() for one in a], [one.flushed() for one in b]
    more = None if bias is None else bias.flushed()
    at = [*x, *([] if more is None else [more])][0].at
    error = of_dot(
        [one.value for one in x],
        [one.error for one in x],
        [one.value for one in y],
        [one.error for one in y],
        at.form,
        None if more is None else (more.value, more.error),
        products,
    )
    value = sum((p.value * q.value for p, q in zip(x, y, strict=True)), Fraction(0))
    return Stated(value + (more.value if more else 0), error, at)


def scaled_and_shifted(x: Stated, center: Stated, scale: Stated, shift: Stated | None) -> Stated:
    """(x − center)·scale + shift, computed as x·scale + (shift − center·scale).

    The product with x rounds once; that with the center, and its difference from the shift, twice. The scale
    is the same in both products, so that its own error moves x − center alone.
    """
    form, s = x.at.form, scale.flushed()
    first = gamma(1, form.u) + gamma(3, U64)
    second = gamma(2, form.u) + gamma(4, U64)
    apart = x.value - center.value
    off = x.error + first * (abs(x.value) + x.error)
    off += center.error + second * (abs(center.value) + center.error)
    carried = abs(apart) * s.error + off * (abs(s.value) + s.error)
    if not carried and not (apart * s.value):
        error = Fraction(0)
    else:
        error = carried + 2 * Fraction(form.smallest) + Fraction(form.flush) * (3 + 2 * abs(s.value))
    product = Stated(apart * s.value, error, x.at)
    return product + (0.0 if shift is None else shift * 1.0)


def one_of(possible: Iterable[Stated], right: Stated) -> Stated:
    """A value of which a right candidate may have any."""
    ends = [end for one in possible for end in one.interval()]
    far = max(abs(end - right.value) for end in ends)
    room = right.at.ends * max(map(abs, ends)) if far else Fraction(0)
    return Stated(right.value, far + room, right.at)


def where(x: Stated, holds: Callable[[Fraction], bool], then: Stated, otherwise: Stated) -> Stated:
    """`then` where a condition holds for x, or holds at an end of its interval."""
    x, yes, no = x.flushed(), then.flushed(), otherwise.flushed()
    ways = {holds(one) for one in (*x.interval(), x.value)}
    return one_of([yes if way else no for way in ways], yes if holds(x.value) else no)


# --- functions ---------------------------------------------------------------------------------

# Function → (ulps, floor, slope, whether it is monotone). parity/operators/functions.py has the sources, and
# test_functions.py measures them: a change there must be made here, too.
ACCURACY: dict[str, tuple[float, float, float | None, bool]] = {
    "exp": (3, 0, None, True),
    "log": (3.5, 0, None, True),
    "sqrt": (1, 0, None, True),
    "sin": (2.5, 0, 1, False),
    "cos": (2.5, 0, 1, False),
    "tan": (4.5, 0, None, False),
    "asin": (6, 0, None, True),
    "acos": (3.5, 0, None, True),
    "atan": (4, 0, None, True),
    "sinh": (20, 0, None, True),
    "cosh": (20, 0, None, False),
    "asinh": (3.5, 0, None, True),
    "acosh": (4.5, 0, None, True),
    "atanh": (3.5, 0, None, True),
    "erf": (4.5, 0, None, True),
    "tanh": (4, 0, None, True),
    "sigmoid": (0.5, 2.5, 0.25, True),
    "softplus": (2.5, 1.5, 1, True),
    "softsign": (1.5, 0, 1, True),
    "expm1": (0.5, 3, None, True),
    "gauss": (0.5, 6, 0.4, True),
    "gauss_tanh": (0.5, 3.5, 0.41, True),
    "mish": (2, 2.5, 0.33, True),
}
POWER = 4.5  # ulps


def known(name: str) -> Callable[[Stated], Stated]:
    """A function with its accuracy."""
    ulps, floor, slope, monotone = ACCURACY[name]
    return lambda x: x.function(lambda v: real.of(name, v), ulps, floor, slope, monotone)


def root(x: Stated) -> Stated:
    """√x of a sum of squares."""
    return x.function(lambda v: real.of("sqrt", max(v, Fraction(0))), 1)


def inverse_root(least: float = 0.0) -> Callable[[Stated], Stated]:
    """1/√x, where x is at least a limit, up to its rounding to any format."""
    limit = Fraction(least) * (1 - Fraction(1, 128))

    def f(v: Fraction) -> Fraction:
        v = max(v, limit)
        return 1 / real.of("sqrt", v) if v else UNBOUNDED

    return lambda x: x.function(f, 2)


def log_of_sum(x: Stated) -> Stated:
    """log x of a sum of terms that are not negative."""
    return x.function(lambda v: real.of("log", v) if v > 0 else -UNBOUNDED, 3.5)


def rounded_twice(x: Stated) -> Stated:
    """x, as an implementation has it that rounds two more times."""
    return x.function(lambda v: v, 1, 0, 1)


def power(exponent: float) -> Callable[[Stated], Stated]:
    """x^exponent for x ≥ 0."""
    return lambda x: x.function(lambda v: real.power(max(v, Fraction(0)), Fraction(exponent)), POWER)


def corners(xs: Sequence[Stated]) -> Iterable[tuple[Fraction, ...]]:
    """All corners of several intervals."""
    return every_corner(*(one.interval() for one in xs))
