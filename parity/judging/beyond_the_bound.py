"""How far a candidate's value is from its bound, and what may put a right implementation outside of it.

The bound is that of numbers inside the format. Behind an overflow, or a NaN that was put in, it says nothing.
"""

from dataclasses import dataclass, replace

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.floats import Format
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
    error = np.where(alike | overflowed, 0.0, error)
    return np.where(np.isnan(error), np.inf, error)


def over(error: Array, bound: Array) -> Array:
    """error / bound; 0 where there is no error, infinite where none may be."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = error / bound
    quotient = np.where(error == 0, 0.0, quotient)
    return np.where(np.isnan(quotient), np.where(np.isinf(bound), 0.0, np.inf), quotient)


@dataclass(frozen=True)
class Excuse:
    """Why all values outside of the bound may be right.

    Attributes:
        nan: how many are NaN in the reference, behind a NaN or an infinity among the inputs.
        beyond: how many leave the format in the reference.
        overflowed: how many a plain loop gets wrong as well, behind an overflow.
        form: in which they overflow.
    """

    nan: int
    beyond: int
    overflowed: int
    form: Format

    def put_on(self, report: TensorReport) -> TensorReport:
        """The report with the verdict that is left: coarse for an overflow that a finer format avoids."""
        said = {
            f"{self.nan} values are NaN by the formula, which implementations lose": self.nan,
            f"{self.beyond} values have no place in {self.form.name}": self.beyond,
            f"{self.overflowed} values are wrong behind an overflow in {self.form.name}, "
            "as in a plain loop": self.overflowed,
        }
        note = "; ".join([*([report.note] if report.note else []), *(text for text, n in said.items() if n)])
        return replace(report, verdict="coarse" if self.overflowed else "rounding", note=note)


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
    beyond = (np.abs(right[outside]) > form.largest) & ~np.isfinite(seen[outside])
    wrong = outside[~lost]
    tried = wrong[:: max(1, -(-wrong.size // TRIED))]
    where = tuple(axis[tried] for axis in points or all_points(found.shape))
    if tried.size and not _loops_fail(question, where, form):
        return None
    return Excuse(int(lost.sum()), int(beyond.sum()), int((~lost & ~beyond).sum()), form)


def _loops_fail(question: Question, where: Points, form: Format) -> bool:
    """Whether at each of these points one of the plain loops is outside of the bound, too."""
    expected = question.at(where)
    right, bound = expected.value.astype(np.float64), expected.bound
    off = [over(distance(loop, right, bound, form), bound) > 1 for loop in question.loops(where)]
    return bool(np.logical_or.reduce(off).all())
