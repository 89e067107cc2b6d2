"""How far a candidate's value is from its bound, and what may put a right implementation outside of it.

The bound is that of numbers inside the format. Behind an overflow, or a NaN that was put in, it says nothing.
"""

from dataclasses import dataclass, replace

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import Format
from parity.arithmetic.plain_loop import watched
from parity.judging.question import Question, all_points
from parity.judging.verdict import TensorReport
from parity.operators.operator import Points

TRIED = 4096  # values outside of the bound on which the plain loop is run


def distance(found: Array, right: Array, bound: Array, form: Format) -> Array:
    """|found − right|; 0 for equal infinities and NaNs, and for an overflow that is due."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(found - right)
        alike = (found == right) | (np.isnan(found) & np.isnan(right))
        beyond = np.abs(right) + bound > form.largest
        overflowed = np.isinf(found) & beyond & (np.sign(found) == np.sign(right))
    # An infinity was put in. It may come out as NaN, as behind a transform, but neither finite nor turned.
    open_ = ~np.isfinite(right) & np.isinf(bound) & ~np.isfinite(found) & ~_turned(found, right)
    error = np.where(alike | overflowed | open_, 0.0, error)
    return np.where(np.isnan(error), np.inf, error)


def _turned(found: Array, right: Array) -> Array:
    """Where one is infinite and the other its opposite."""
    return np.isinf(found) & (found == -right)


def over(error: Array, bound: Array) -> Array:
    """error / bound; 0 where there is no error, infinite where none may be."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = error / bound
    quotient = np.where(error == 0, 0.0, quotient)
    return np.where(np.isnan(quotient), np.inf, quotient)


@dataclass(frozen=True)
class Excuse:
    """Why all values outside of the bound may be right.

    Attributes:
        nan: how many are NaN in the reference, behind a NaN or an infinity among the inputs.
        beyond: how many leave the format in the reference.
        overflowed: how many more there are. A plain loop goes as wrong, or some order of summation does.
        tried: of how many of these that is known.
        form: in which they overflow.
    """

    nan: int
    beyond: int
    overflowed: int
    tried: int
    form: Format

    def put_on(self, report: TensorReport) -> TensorReport:
        """The report with the verdict that is left: coarse for an overflow that a finer format avoids."""
        some = "" if self.tried == self.overflowed else f" ({self.tried} of them were tried)"
        said = {
            f"{_values(self.nan)} NaN by the formula, which implementations lose": self.nan,
            f"{_values(self.beyond)} too large for {self.form.name}": self.beyond,
            f"{_values(self.overflowed)} wrong behind an overflow in {self.form.name}, or a division by zero"
            + some: self.overflowed,
        }
        note = "; ".join([*([report.note] if report.note else []), *(text for text, n in said.items() if n)])
        verdict = "coarse" if self.overflowed else "undecided" if self.nan else "rounding"
        return replace(report, verdict=verdict, note=note)


def _values(n: int) -> str:
    return f"{n:,} value is" if n == 1 else f"{n:,} values are"


def excused(
    found: Array, expected: Bounded, form: Format, question: Question, points: Points
) -> Excuse | None:
    """The excuse of a candidate with values outside of the bound; None if one of them has none.

    Args:
        found: the candidate's values.
        expected: what they should be, of the same shape.
        form: the candidate's format.
        question: whose plain loops are run.
        points: where in the tensor a sample was taken; () for all of it.
    """
    seen, right = found.astype(np.float64).ravel(), expected.value.astype(np.float64).ravel()
    bound = np.broadcast_to(expected.bound, expected.shape).ravel()
    outside = np.flatnonzero(over(distance(seen, right, bound, form), bound) > 1)
    lost = np.isnan(right[outside])
    if lost.any() and question.tells_nan():
        return None
    wrong = np.random.default_rng(0).permutation(outside[~lost])
    wrong = wrong[np.argsort(~np.isfinite(seen[wrong]), kind="stable")]  # a finite value looks right: first
    tried = wrong[:TRIED]
    where = tuple(axis[tried] for axis in points or all_points(found.shape))
    if (
        tried.size
        and not (
            _loops_fail(question, where, seen[tried], form) | _may_overflow(question, where, seen[tried])
        ).all()
    ):
        return None
    beyond = int((np.abs(right[wrong]) > form.largest).sum())
    more = wrong.size - beyond
    return Excuse(int(lost.sum()), beyond, more, min(more, tried.size), form)


def _loops_fail(question: Question, where: Points, seen: Array, form: Format) -> Array:
    """At which of these points plain loops that overflow go as wrong as the candidate.

    A finite value of the candidate must be nearer to the loop's than to the right one, eight times.
    """
    expected = question.at(where)
    right = expected.value.astype(np.float64)
    fails = np.zeros(seen.shape, bool)
    with watched() as overflow:
        loops = question.loops(where)
    for loop in loops if overflow else ():
        off = distance(loop, right, expected.bound, form)
        with np.errstate(invalid="ignore"):
            alike = ~np.isfinite(seen) | (8 * np.abs(seen - loop) <= np.abs(seen - right))
        fails |= (over(off, expected.bound) > 1) & alike
    return fails


def _may_overflow(question: Question, where: Points, seen: Array) -> Array:
    """At which of these points the candidate is not finite, and some order of summation overflows.

    Then the bound is infinite even if each rounding is as small as float64's. Where the inputs were not
    recorded, it may be infinite because it has grown.
    """
    if question.carries_errors:
        return np.zeros(seen.shape, bool)
    exact = [None if x is None else replace(x, format=replace(x.format, digits=53)) for x in question.bounded]
    expected = replace(question, bounded=exact).at(where)
    right = expected.value.astype(np.float64)
    return ~np.isfinite(seen) & np.isinf(expected.bound) & ~_turned(seen, right)
