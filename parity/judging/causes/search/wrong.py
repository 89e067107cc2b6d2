"""A wrong tensor, and the proof that an operator with a mistake explains it."""

from dataclasses import dataclass, replace

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import Format
from parity.errors import Unjudged
from parity.judging.beyond_the_bound import distance, over
from parity.judging.causes.mistake import MISFITS
from parity.judging.question import Question
from parity.judging.verdict import TensorReport
from parity.judging.yardsticks import judge_tensor, rms
from parity.operators import Operator
from parity.operators.operator import Points, random_points

WHOLE = 2**20  # values up to which a tensor of a wrong shape is computed though only a sample is judged
RIGHT = ("equal", "rounding")


@dataclass(frozen=True)
class Wrong:
    """A wrong tensor, of which a mistake must explain every value, or those of a sample.

    Attributes:
        report: the verdict on it.
        question: what it should be; the operator is a stretch.
        found: the candidate's values.
        sample: how many of them are judged; None: all.
        points: where the sample lies; () for all values.
        seen: the candidate's values there.
        right: what they should be; all values, in their own shape, if the candidate's shape is wrong.
    """

    report: TensorReport
    question: Question
    found: Array
    sample: int | None
    points: Points
    seen: Array
    right: Bounded

    @classmethod
    def of(cls, report: TensorReport, question: Question, found: Array, sample: int | None) -> "Wrong":
        """Evaluates the right operators.

        Raises:
            Unjudged: the shape is wrong, and the tensor is too large to be computed.
        """
        whole = sample is None or sample >= found.size
        if report.misshapen and not whole and found.size > WHOLE:
            raise Unjudged("a large tensor of a wrong shape")
        if whole or report.misshapen:
            return cls(report, question, found, None, (), found, question.whole())
        points = random_points(np.random.default_rng(0), found.shape, sample or 0)
        return cls(report, question, found, sample, points, found[points], question.at(points))

    @property
    def form(self) -> Format:
        """The candidate's format."""
        return self.right.format

    def explained_by(self, operator: Operator, read_off: bool = False, strict: bool = False) -> bool:
        """Whether the operator, which makes a mistake, is right about every value, and the mistake matters.

        Args:
            operator: of the same inputs as the right one.
            read_off: whether the candidate's values show the mistake, so that its bound may be wide.
            strict: whether more proof is asked for, since there are many such operators.
        """
        wrong = replace(self.question, operator=operator)
        try:
            expected = wrong.at(self.points) if self.points else wrong.whole()
            if expected.shape != self.seen.shape or not self._inside(self.seen, expected):
                return False
            blank = TensorReport(self.report.tensor, self.report.node, self.report.op)
            verdict = judge_tensor(blank, wrong, self.found, self.sample)
            return verdict.verdict in RIGHT and self._proves(verdict, expected, read_off, strict)
        except (Unjudged, *MISFITS):
            return False

    def off(self, operator: Operator) -> float:
        """The root mean square of what an operator that explains the values leaves of them."""
        wrong = replace(self.question, operator=operator)
        expected = (wrong.at(self.points) if self.points else wrong.whole()).value.astype(np.float64)
        error = self.seen.astype(np.float64) - expected
        return rms(error[np.isfinite(error)])

    def _proves(self, verdict: TensorReport, expected: Bounded, read_off: bool, strict: bool) -> bool:
        """Whether it is no accident that the values fit: a bound that is wider than they are says nothing."""
        if self.report.misshapen:
            return verdict.proven and bool((self.seen != self.seen.flat[0]).any())
        if read_off:
            return True
        if strict and bool((self.seen == self.seen.flat[0]).all()):
            return False  # many a pair of mistakes returns a constant
        if self.report.verdict == "coarse":
            return not strict and self._is_finer(verdict, expected)
        share = self._narrow_share(expected)
        if share is None or 0 < share <= 0.5:  # uncertain operands widen a bound: then the plain loop decides
            return not strict and self._is_finer(verdict, expected)
        return share > 0.5

    def _is_finer(self, verdict: TensorReport, expected: Bounded) -> bool:
        """Whether what a plain loop with the mistake may be off is smaller than the error that it explains.

        That is its own error times a limit: `verdict.loop_ratio` is what remains of the candidate's error
        over the loop's. Most of the explained error must lie where the bound, too, is smaller than the
        values: where it is not, any values would do.
        """
        seen, wrong, right = (a.astype(np.float64) for a in (self.seen, expected.value, self.right.value))
        finite = np.isfinite(seen) & np.isfinite(wrong) & np.isfinite(right)
        explained, remains = (seen - right)[finite] ** 2, ((seen - wrong)[finite] ** 2).sum()
        known = (
            (expected.bound <= np.sqrt((wrong[finite] ** 2).mean()))[finite] if finite.any() else finite[:0]
        )
        factor = (verdict.loop_ratio / verdict.loop_limit) ** 2 if remains else 1.0
        return bool(remains < factor * explained.sum() < 2 * factor * explained[known].sum())

    def _narrow_share(self, expected: Bounded) -> float | None:
        """Of the errors outside of the right bound, the share that is larger than that with the mistake.

        None if no error is: then the values are wrong together, as shares are that do not add up to 1.
        """
        right = self.right.value
        if self.seen.dtype.kind in "USOT" or right.dtype.kind in "USOT":
            return 1.0
        seen, right = self.seen.astype(np.float64), right.astype(np.float64)
        error = distance(seen, right, self.right.bound, self.form)
        outside, narrow = (over(error, bound) > 1 for bound in (self.right.bound, expected.bound))
        narrow &= ~np.isinf(expected.bound)  # it admits a NaN, too
        return float((outside & narrow).sum() / outside.sum()) if outside.any() else None

    def _inside(self, found: Array, expected: Bounded) -> bool:
        if found.dtype.kind in "USOT" or expected.value.dtype.kind in "USOT":
            return bool(np.array_equal(found, expected.value))
        bound = expected.bound
        off = distance(found.astype(np.float64), expected.value.astype(np.float64), bound, self.form)
        return bool((over(off, bound) <= 1).all())
