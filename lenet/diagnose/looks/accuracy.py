"""The three verdicts beside right and wrong: rounding, less accurate, undecided."""

import numpy as np

from lenet.diagnose.findings import LESS, UNDECIDED, Diagnosis, Finding
from lenet.diagnose.findings import deviation as departure
from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.wrong_forward import STAGES
from lenet.diagnose.search.segment import Segment, fits
from lenet.diagnose.search.yardstick import FAST, PLAIN, computed_in_finer, deviation
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.reference.half_sums import BIASED, half_sum
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FORMATS
from parity.judging.causes.of_rounding.of_half_sums import EXPLANATION, NAME, REMEDY, is_half_sum

FAST_ALGORITHM = Kind(
    "a fast algorithm for the plain sum",
    "The layer is the same function, computed through other numbers, as FFT and Winograd do: less accurate.",
    "Use the direct or the matrix-product algorithm, or compute in float64, if the last digits matter.",
)

HALF_SUM = Kind(NAME, EXPLANATION, REMEDY)


def is_rounding(segment: Segment) -> bool:
    """Whether the right network explains the values, as far as they tell.

    Over several affine layers the worst case is too wide for that: the deviation must be that of a plain loop
    too.
    """
    if _affine(segment) > 1:
        return segment.is_right and deviation(segment).ratio <= PLAIN
    if segment.is_right:
        return True
    if not _affine(segment):
        return False
    if segment.could_round:
        return deviation(segment).ratio <= PLAIN
    return deviation(segment).ratio <= FAST and computed_in_finer(segment)


def less_than_right(segment: Segment) -> Finding | None:
    """A finding on values that are not known to be right, and no other function's: "less accurate" where one
    affine layer has larger errors, or a ReLU rounds; "undecided" where several hide what a small mistake
    would do."""
    count, target = _affine(segment), segment.target
    if not count:
        return _rounding_relu(segment)
    off = deviation(segment)
    if off.ratio > FAST:
        return None
    if count == 1 and not off.systematic:
        evidence = f"{target} is the same function, with small errors where a plain loop has none"
        return Finding(target, evidence, (Diagnosis.of(FAST_ALGORITHM, (target,)),), verdict=LESS)
    if count == 1 or not segment.could_round:
        return None
    evidence = (
        f"{target} alone does not tell rounding from a small mistake: what changes it by less than "
        f"{FAST * off.noise:.0e} of its size does not show; return the layers before it, or use float64"
    )
    return Finding(target, evidence, verdict=UNDECIDED)


def _rounding_relu(segment: Segment) -> Finding | None:
    """A finding on a ReLU whose values are those of ½(|x + b| + x + b), given what the port has before it."""
    alike, evidence = False, ""
    if len(segment.stages) > 1 or segment.target not in BIASED:
        return None
    for sample, states in zip(segment.samples, segment.right, strict=True):
        formula = half_sum(segment.target, sample.params)
        form, s = FORMATS[segment.dtype], sample.x.value
        if s.shape[1:] != ACTIVATION_SHAPES[segment.target]:
            return None
        expected = formula.evaluate(Bounded(s, None, form))
        assert isinstance(expected, Bounded)
        if not fits(sample.seen, expected, segment.dtype):
            return None
        alike |= is_half_sum(s, formula.bias, sample.seen, form)
        if not evidence and not np.array_equal(sample.seen, states[-1].value):
            evidence = departure(segment.target, sample.seen, states[-1])
    cause = Diagnosis.of(HALF_SUM, (segment.target,))
    return Finding(segment.target, evidence, (cause,), verdict=LESS) if alike else None


def beyond_noise(segment: Segment) -> str:
    """A line on values within the worst case of rounding that are another function's all the same."""
    return (
        f"all values lie within the worst case of rounding, but they deviate {deviation(segment).ratio:.3g} "
        "times as far as rounding does"
    )


def _affine(segment: Segment) -> int:
    return sum(STAGES[name].affine for name in segment.stages)
