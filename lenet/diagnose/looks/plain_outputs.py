"""Outputs that hardly depend on the input: zero, constant, the same for every digit, or cut off.

Such values fit many hypotheses, pairs above all, and prove none. So they are findings of their own.
"""

from collections.abc import Callable, Iterator

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.search.segment import Sample, Segment, within
from parity.arithmetic import Array, Bounded

ZERO = Kind(
    "all values are zero",
    "The output is zero for every input: it was allocated and not filled, or multiplied by zero.",
    "Return what the layer computed; look at an array that is made with zeros and written in a loop.",
)
CONSTANT = Kind(
    "all values are the same number",
    "The output is one number for every input.",
    "Return what the layer computed, and look whether the weights and the images arrive there.",
)
SAME = Kind(
    "the same for every digit",
    "Every digit of the batch has the same output: the images do not arrive, or one of them is repeated.",
    "Compute the output from the images of the call, each from its own.",
)
CUT_OFF = Kind(
    "output cut off",
    "Values beyond a limit are set to it, and all others are right.",
    "Return the output without clip, clamp, or a saturating type.",
)
NOT_FINITE = Kind(
    "values that are not finite",
    "NaN or infinity stands where every right value is finite: a division by zero, a logarithm or a root of "
    "what has none, an overflow, or memory that was never written.",
    "Look for the first operation whose result is not finite, with finite values going in.",
)
Found = tuple[Kind, str]  # what it is, and a line with the numbers


def constant(segment: Segment) -> Found | None:
    """What a constant output is; None if the port's is not constant, or has another shape."""
    if not _judged(segment):
        return None
    arrays = [sample.seen for sample in segment.samples]
    if any(np.ptp(a) > 0 or not np.isfinite(a).all() for a in arrays):
        return None
    values = sorted({float(a.flat[0]) for a in arrays})
    if values == [0]:
        return ZERO, f"every value of {segment.target} is zero"
    return CONSTANT, f"every value of {segment.target} is {', or '.join(f'{value:.6g}' for value in values)}"


def repeated_or_cut_off(segment: Segment) -> Found | None:
    """What an output is that is the same for every digit, or cut off at a limit; None if it is neither."""
    if not _judged(segment):
        return None
    if all(_same_rows(sample.seen) for sample in segment.samples):
        return SAME, f"{segment.target} is the same for every digit"
    limits = [list(_limits(segment, sample, right[-1])) for sample, right in _pairs(segment)]
    if all(limits) and (said := _one_limit([one for some in limits for one in some])):
        return CUT_OFF, f"{segment.target} is cut off: {said}; all other values are right"
    return None


def not_finite(segment: Segment) -> Found | None:
    """Values that are not finite, after finite ones; None if there are none."""
    if not _judged(segment) or not all(np.isfinite(sample.x.value).all() for sample in segment.samples):
        return None
    wrong = sum(int((~np.isfinite(sample.seen)).sum()) for sample in segment.samples)
    size = sum(sample.seen.size for sample in segment.samples)
    return (NOT_FINITE, f"{wrong} of {size} values of {segment.target} are not finite") if wrong else None


def _judged(segment: Segment) -> bool:
    """Whether the shapes are right, and the right output is not constant."""
    return all(
        len(states) > len(segment.stages)
        and states[-1].value.shape == sample.seen.shape
        and np.ptp(states[-1].value) > 0
        for sample, states in _pairs(segment)
    )


def _pairs(segment: Segment) -> Iterator[tuple[Sample, list[Bounded]]]:
    return zip(segment.samples, segment.right, strict=True)


def _same_rows(seen: Array) -> bool:
    return len(seen) > 1 and bool((seen == seen[:1]).all())


def _limits(segment: Segment, sample: Sample, right: Bounded) -> Iterator[tuple[str, float]]:
    """("below" or "above", limit) for each limit that explains wrong values; ("", 0) if none is wrong.

    Nothing comes out if a wrong value is not at a limit.
    """
    seen, departs = sample.seen, ~within(sample.seen, right, segment.dtype)
    if not departs.any():
        yield "", 0.0
        return
    if not np.ptp(seen):  # one value is no range
        return
    sides: tuple[tuple[str, float, Callable[[Array, float], Array]], ...] = (
        ("below", float(seen.min()), np.less),
        ("above", float(seen.max()), np.greater),
    )
    cut = {word: departs & (seen == limit) & beyond(right.value, limit) for word, limit, beyond in sides}
    if (departs & ~cut["below"] & ~cut["above"]).any():
        return
    # A limit makes different values equal. Values that are equal by themselves may be wrong for any reason.
    yield from ((word, limit) for word, limit, _ in sides if _spread(right, cut[word]) > 0)


def _spread(right: Bounded, where: Array) -> float:
    """How far the right values at some places lie apart, beyond their bounds."""
    if not where.any():
        return 0.0
    return float(np.ptp(right.value[where]) - 2 * right.bound[where].max())


def _one_limit(limits: list[tuple[str, float]]) -> str:
    """The limits in words; "" if those of the samples differ, or there is none."""
    found = {word: {limit for other, limit in limits if other == word} for word in ("below", "above")}
    if any(len(values) > 1 for values in found.values()) or not any(found.values()):
        return ""
    return " and ".join(f"{word} {value:.6g}" for word, values in found.items() for value in values)
