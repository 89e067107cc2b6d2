"""Judges one recorded tensor by two yardsticks: the worst case of rounding, and the plain loop.

The worst case is a proof: a value outside it is another function. It grows with the number of terms and lets
coarse arithmetic pass; the plain loop, run in the candidate's format on the same data, does not. The error of
both is compared as a root mean square over the tensor's values.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple
from zlib import crc32

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FLOAT64, Format, equal_bits, format_of
from parity.judging.beyond_the_bound import distance, excused, over
from parity.judging.question import Question, all_points
from parity.judging.verdict import BINS, LARGEST_POWER, ORDER, TensorReport, Worst
from parity.operators.operator import Points, random_points

LOOPED = 4096  # values of a tensor on which the plain loop is run
AT_ONCE = 2**16  # values that are compared at once
ROOM = 1.25  # beside the plain loop, for libraries that do add up like it
# The logarithm of the ratio of two right implementations scatters by 1.4 to 1.9 over √N over N values,
# measured (tests/parity/arithmetic/test_plain_loop.py): about three standard deviations.
SCATTER = 5


def judge_tensor(
    blank: TensorReport, question: Question, seen: Array, sample: int | None = None
) -> TensorReport:
    """The verdict on one tensor, by the first of the operator's forms under which it is right.

    Args:
        blank: names the tensor.
        question: what it should be.
        seen: the values recorded of it.
        sample: judge so many of them, chosen at random by the tensor's name; None: all.

    Raises:
        Unjudged: no bound is known.
    """
    best: TensorReport | None = None
    for operator in question.operator.forms():
        report = _by_form(blank, replace(question, operator=operator), seen, sample)
        if best is None or ORDER.index(report.verdict) < ORDER.index(best.verdict):
            form = "" if best is None else operator.form_name  # nothing is said of the first
            best = replace(report, note="; ".join(one for one in (report.note, form) if one))
            fits = operator
        if best.verdict in ("equal", "rounding"):
            break
    assert best is not None
    if best.ratio > 1 and 0 < sum(best.histogram) < best.values:  # the few wrong values shall show
        counted = _by_form(blank, replace(question, operator=fits), seen, sample, every=True)
        best = replace(best, histogram=counted.histogram)
    return best


def wrong_shape(blank: TensorReport, seen: Array, expected: str) -> TensorReport:
    """The verdict on a tensor whose shape is another than `expected`."""
    note = f"shape {list(seen.shape)}, expected {expected}"
    return replace(blank, verdict="different", ratio=np.inf, values=seen.size, note=note, misshapen=True)


def _by_form(
    blank: TensorReport, question: Question, seen: Array, sample: int | None, every: bool = False
) -> TensorReport:
    rng = np.random.default_rng(crc32(blank.tensor.encode()))
    some = sample is not None and sample < seen.size and question.output == 0
    points = random_points(rng, seen.shape, sample) if some and sample else ()
    expected, found = (question.at(points), seen[points]) if some else (question.whole(), seen)
    if not some and expected.shape != seen.shape:
        return wrong_shape(blank, seen, str(list(expected.shape)))
    form = format_of(seen)
    if form is None:
        return _of_integers(blank, found, expected, points)
    report = _by_worst_case(blank, found, expected, points, form, every)
    if report.verdict == "different":
        excuse = excused(found, expected, form, question, points)
        report = excuse.put_on(report) if excuse else report
    elif question.carries_errors and (other := question.inverted(seen, form)):
        expected_of_itself = other.at(points) if some else other.whole()
        itself = _by_worst_case(blank, found, expected_of_itself, points, form, every)
        if itself.verdict == "different":
            report = replace(itself, note=f"{blank.op} returns such values for no inputs")
    if not found.size or report.verdict in ("coarse", "undecided"):
        return report
    few = _few_points(rng, question, seen.shape, found.size)
    right = question.at(few) if some else expected.move(lambda a: a[few].ravel())
    share = seen[few].size / seen.size
    return _by_plain_loop(report, question, seen[few].ravel(), right, form, few, share)


def _few_points(rng: np.random.Generator, question: Question, shape: tuple[int, ...], most: int) -> Points:
    """Where the plain loop is run."""
    if prod(shape) <= min(LOOPED, most):
        return all_points(shape)
    if question.output:
        return random_points(rng, shape, min(LOOPED, most))
    return question.operator.few_points(rng, shape, min(LOOPED, most))


def _of_integers(blank: TensorReport, found: Array, expected: Bounded, points: Points) -> TensorReport:
    """Integers, booleans, strings: equal, or as far off as an undecided rounding before allows."""
    right = expected.value
    same = np.asarray((found == right) | ((found != found) & (right != right)))  # NaNs of 8 bits are equal
    report = replace(blank, values=found.size, equal=int(same.sum()))
    if same.all():
        return replace(report, verdict="equal", histogram=histogram(np.zeros(same.size)))
    if found.dtype.kind in "USOT":  # text
        return replace(report, verdict="different", ratio=np.inf)
    with np.errstate(invalid="ignore"):
        apart = np.abs(found.astype(np.float64) - right.astype(np.float64))
    apart = np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))
    ratio = over(apart, expected.bound)
    largest, worst = float(ratio.max()), _at(int(ratio.argmax()), found, right, points)
    verdict = "rounding" if largest <= 1 else "different"
    return replace(
        report,
        verdict=verdict,
        ratio=largest,
        max_abs_error=float(apart.max()),
        worst=worst,
        histogram=histogram(ratio),
    )


class Part(NamedTuple):
    """How some values compare with the worst case.

    Attributes:
        equal: how many are the correctly rounded reference.
        ratio: the largest error over worst case.
        place: where that is.
        off: the largest error.
        narrow: how many values are larger than their bound, or known to be zero.
        some: error over worst case of evenly spaced values, for the histogram.
    """

    equal: int
    ratio: float
    place: int
    off: float
    narrow: int
    some: Array


def _by_worst_case(
    blank: TensorReport, found: Array, expected: Bounded, points: Points, form: Format, every: bool
) -> TensorReport:
    """ "equal", "different", or "rounding" for what lies within the bound.

    Args:
        every: count every value in the histogram, not some thousand of them.
    """
    if not found.size:
        return replace(blank, verdict="equal")
    flat, right = found.reshape(-1), expected.reshape(-1)
    step = 1 if every else flat.size // LOOPED | 1  # odd: not the width of a map
    parts = [_part(flat, right, start, form, step) for start in range(0, flat.size, AT_ONCE)]
    worst = max(parts, key=lambda part: part.ratio)
    equal = sum(part.equal for part in parts)
    verdict = "equal" if equal == flat.size else "rounding" if worst.ratio <= 1 else "different"
    return replace(
        blank,
        values=flat.size,
        equal=equal,
        verdict=verdict,
        ratio=worst.ratio,
        max_abs_error=max(part.off for part in parts),
        worst=_at(worst.place, found, expected.value, points),
        note=_not_finite(found, expected.value, form) or _too_short(found, form, verdict),
        proven=2 * sum(part.narrow for part in parts) > flat.size,
        histogram=histogram(np.concatenate([part.some for part in parts])),
    )


def _part(found: Array, expected: Bounded, start: int, form: Format, step: int) -> Part:
    """The values from `start` on, so few that all that is computed of them stays near the processor.

    Counting all in a histogram would take a sixth of the time of judging, so each `step`-th value is kept.
    """
    found = found[start : start + AT_ONCE]
    some = expected.move(lambda a: a[start : start + AT_ONCE])
    right, bound = some.value.astype(np.float64, copy=False), some.bound
    same = equal_bits(found, form.round(right))
    error = distance(found.astype(np.float64), right, bound, form)
    ratio = np.where(same & (error == 0), 0.0, over(error, bound))
    place = int(ratio.argmax())
    nothing = (right == 0) & (bound < 3 * form.flush)  # its argument may be flushed, and itself
    narrow = int(np.count_nonzero((over(bound, np.abs(right)) < 1) | nothing))
    largest, off = float(ratio[place]), float(error.max())
    return Part(int(np.count_nonzero(same)), largest, start + place, off, narrow, ratio[::step].copy())


def histogram(ratio: Array) -> tuple[int, ...]:
    """The number of values of error over worst case in each bin of `TensorReport.histogram`.

    The bits of a float64 less one, without its mantissa, are the power of two below it: for all of
    (2^(k-1), 2^k] the same. Of 0 they are -1, and fall below the first power.

    Args:
        ratio: float64 from 0 to infinity.
    """
    powers = ((ratio.ravel().view(np.int64) - 1) >> 52) - 1022
    places = np.clip(powers + LARGEST_POWER + 1, 0, len(BINS) - 1)
    return tuple(np.bincount(places, minlength=len(BINS)).tolist())


def _by_plain_loop(
    report: TensorReport,
    question: Question,
    found: Array,
    expected: Bounded,
    form: Format,
    few: Points,
    share: float,
) -> TensorReport:
    """The report with the second yardstick: the values found and expected at the points `few`.

    Args:
        share: which part of the tensor's values these are.
    """
    seen, true, bound = found.astype(np.float64), expected.value.astype(np.float64), expected.bound
    grown = np.broadcast_to(np.abs(true - question.offset(few)), true.shape)
    with np.errstate(all="ignore"):
        shows = np.where(grown == 0, np.inf, (bound + distance(seen, true, bound, form)) / grown)
    blind = float(np.nanmin(shows, initial=np.inf))
    good = np.isfinite(true) & np.isfinite(seen) & (np.abs(true) <= form.largest)
    limit, loop_ratio, strange = np.inf, np.nan, 0
    if form is not FLOAT64 and good.any():
        loops = question.loops(few)
        yardstick = _yardstick([loop[good] for loop in loops], true[good], form)
        loop_ratio = rms(seen[good] - true[good]) / yardstick
        shared = max(1.0, share * question.operator.shared(*question.bounded))
        limit = margin(independent(form.round(true[good]), bound[good]), shared)
        size = rms(grown[good])
        blind = min(blind, limit * yardstick / size) if size else blind
        # Where places may be chosen in two ways, as in Resize, a bound is the distance of any two values.
        unknown = good & (bound > 2 * np.abs(true[good]).max())
        if unknown.any():
            off = np.max([distance(loop, true, bound, form) for loop in loops], 0)
            unknown &= limit * off >= rms(true[good])
            strange = _strange(question, tuple(axis[unknown] for axis in few), seen[unknown], form)
    report = replace(
        report, loop_ratio=loop_ratio, loop_limit=limit if good.any() else np.nan, blind_below=blind
    )
    if report.verdict == "rounding" and loop_ratio > limit:
        return replace(report, verdict="coarse", worst=_furthest(seen, true, good, few))
    if report.verdict == "rounding" and (strange or not blind < 1):
        what = f"{strange} of {found.size} values could be anything: " if strange else ""
        note = f"{what}record more tensors before it, or more values of it"
        note = "; ".join(one for one in (report.note, note) if one)
        return replace(report, verdict="undecided", strange=strange, note=note)
    return report


def _strange(question: Question, points: Points, seen: Array, form: Format) -> int:
    """How many values are neither those of exact inputs nor those of the inputs that a plain loop makes."""
    if not seen.size:
        return 0
    known = np.zeros(seen.shape, bool)
    for one in question.without_errors():
        expected = one.at(points)
        known |= over(distance(seen, expected.value, expected.bound, form), expected.bound) <= 1
    return int(np.count_nonzero(~known))


def _furthest(seen: Array, true: Array, good: Array, points: Points) -> Worst:
    """Where the error is the largest of those values whose root mean square is taken."""
    place = int(np.where(good, np.abs(seen - true), 0.0).argmax())
    index = tuple(int(axis[place]) for axis in points)
    return Worst(index, float(seen.ravel()[place]), float(true.ravel()[place]))


def _yardstick(loops: Sequence[Array], true: Array, form: Format) -> float:
    """The RMS error of the least accurate loop.

    It counts as no more accurate than one rounding of each value, which every implementation makes, and than
    taking subnormal numbers for zero, which some do.
    """
    errors = [np.where(np.isfinite(loop), np.abs(loop - true), np.abs(true)) for loop in loops]
    return max(*(rms(error) for error in errors), form.u * rms(true), form.smallest, form.flush)


def independent(values: Array, sizes: Array | None = None) -> float:
    """How many values with errors of their own have the same scatter as these.

    Equal values are most often sums of the same terms, as where a filter sees the same in many places: then
    all their errors are one. A zero is a sum of zeros, and has no error. Values with larger errors than the
    others count for more: where one row is 1,000 times as large, the error of the tensor is that of this row.
    The variance of a mean of squares over classes of m equal values of size s is that of (Σms²)² / Σ(ms²)²
    values.

    Args:
        sizes: of the errors that they may have; None: all the same.
    """
    shown = values != 0
    if not shown.any():
        return 1.0
    weights = _weights(sizes[shown]) if sizes is not None else np.ones(int(shown.sum()))
    _, kind = np.unique(values[shown], return_inverse=True)
    classes = np.bincount(kind.ravel(), weights.ravel())
    return max(1.0, float(classes.sum()) ** 2 / float((classes**2).sum()))


def _weights(sizes: Array) -> Array:
    """The squares of sizes, of which the largest is 1. An infinite one counts like the largest other."""
    largest = float(sizes[np.isfinite(sizes)].max(initial=0))
    return np.minimum(sizes / largest, 1) ** 2 if largest else np.ones(sizes.shape)


def margin(values: float, shared: float = 1) -> float:
    """The largest ratio to the plain loop that a right implementation has, over so many values.

    Args:
        values: how many independent ones were compared.
        shared: how many of them depend on one reduction, so that they count as one.
    """
    return ROOM * float(np.exp(SCATTER / np.sqrt(max(values / shared, 1))))


def rms(x: Array) -> float:
    """The root mean square of some values; squares of the smallest would underflow."""
    largest = float(np.abs(x).max(initial=0))
    return largest * float(np.sqrt(np.mean((x / largest) ** 2))) if largest else 0.0


def _at(place: int, found: Array, right: Array, points: Points) -> Worst:
    """The value at a place of the flattened arrays."""
    inside = np.unravel_index(place, found.shape)
    index = tuple(int(axis[place]) for axis in points) if points else tuple(int(i) for i in inside)
    return Worst(index, float(found[inside]), float(right[inside]))


def _too_short(found: Array, form: Format, verdict: str) -> str:
    """A hint if float64 holds nothing but numbers of float32."""
    if form is not FLOAT64 or verdict != "different" or not np.array_equal(found.astype(np.float32), found):
        return ""
    return "all values are float32 numbers: record them as float32 if they were computed in it"


def _not_finite(found: Array, right: Array, form: Format) -> str:
    """One line on values that are not finite."""
    odd = ~np.isfinite(found)
    if not odd.any():
        return ""
    infinite, nan = int(np.isinf(found).sum()), int(np.isnan(found).sum())
    due = int((odd & ~(np.abs(right) <= form.largest)).sum())
    what = " and ".join(f"{n} {word}" for n, word in ((infinite, "infinite"), (nan, "NaN")) if n)
    return f"{what} of {found.size} values in {form.name}; {due} of them are so in the reference"
