"""The three verdicts beside right and wrong: rounding, less accurate, undecided."""

from lenet.diagnose.findings import LESS, UNDECIDED, Diagnosis, Finding
from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.wrong_forward import STAGES
from lenet.diagnose.search.segment import Segment
from lenet.diagnose.search.yardstick import FAST, PLAIN, computed_in_finer, deviation

FAST_ALGORITHM = Kind(
    "a fast algorithm for the plain sum",
    "The layer is the same function, computed through other numbers, as FFT and Winograd do: less accurate.",
    "Use the direct or the matrix-product algorithm, or compute in float64, if the last digits matter.",
)


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
    affine layer has larger errors, "undecided" where several hide what a small mistake would do."""
    count, target = _affine(segment), segment.target
    if not count:
        return None
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


def beyond_noise(segment: Segment) -> str:
    """A line on values within the worst case of rounding that are another function's all the same."""
    return (
        f"all values lie within the worst case of rounding, but they deviate {deviation(segment).ratio:.3g} "
        "times as far as rounding does"
    )


def _affine(segment: Segment) -> int:
    return sum(STAGES[name].affine for name in segment.stages)
