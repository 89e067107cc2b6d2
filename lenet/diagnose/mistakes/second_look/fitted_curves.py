"""The function that an elementwise layer applies, read off from pairs of values: y(x).

Only a ReLU has a function to be read off; a line through its positive values is a batch norm's scale and
shift, or a factor. A limit shows as the largest or the smallest value, a threshold as a gap.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.second_look.fitted_lines import by_channel, line, number, rounded
from lenet.diagnose.mistakes.second_look.shown import LINE, SAME, Shown
from lenet.diagnose.mistakes.wrong_forward import Call, after, before, instead
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FLOAT32
from parity.operators.activation import Relu

FEW = 8  # positive values of a channel through which a line is laid
LEVELS = 2**16  # steps of a quantized output up to which steps are looked for


def mistakes(shown: Shown) -> Iterator[Mistake]:
    """Another function in the place of a ReLU."""
    if not isinstance(shown.layer.operator, Relu):
        return
    yield from _scaled(shown)
    yield from _limited(shown)
    yield from _thresholded(shown)
    yield from _stepped(shown)


# --- a line in front of the ReLU ----------------------------------------------------------------


def _scaled(shown: Shown) -> Iterator[Mistake]:
    """max(0, a x + d), with one a and d for all, or for each channel."""
    found = [_line(one.x.value, one.seen) for one in shown.examples]
    if any(one is None for one in found):
        return
    slopes, shifts, sizes = (np.array(some) for some in zip(*found, strict=True))
    known = np.isfinite(slopes).any(0)
    if not known.any():
        return
    if not (np.nan_to_num(np.abs(shifts)) > LINE * sizes).any():
        return  # a factor, which shows behind ReLU, too
    factor_of, shift_of = np.ones(len(known)), np.zeros(len(known))
    factor_of[known] = np.nanmedian(slopes[:, known], axis=0)
    shift_of[known] = np.nanmedian(shifts[:, known], axis=0)
    if np.nanmax(np.abs(slopes - factor_of) / np.abs(factor_of)) > 10 * LINE:
        return
    if np.nanmax(np.abs(shifts - shift_of) / sizes) > LINE:
        return
    words = rounded(factor_of)
    kind = Kind(
        f"channels multiplied by {words} and shifted",
        "Each channel has a factor and a shift of its own in front of ReLU, as in a batch norm.",
        "Leave a batch norm out, or fold it into the weights and the bias.",
    )
    yield Mistake(
        kind,
        {shown.layer.name: before(_in_front(factor_of, shift_of, 2 * FLOAT32.u * float(np.median(sizes))))},
    )


def _in_front(factor: Array, shift: Array, unsure: float) -> Callable[[Call], Call]:
    change = line(factor, shift, unsure)
    return lambda call: replace(call, x=change(call.x, call))


def _line(x: Array, y: Array) -> tuple[Array, Array, Array] | None:
    """Slopes and shifts (channels,) of the positive values, NaN where there are few, and their size; None if
    some values lie on no line."""
    slopes, shifts = np.full((2, x.shape[1]), np.nan)
    size = max(float(np.abs(y).max()), 1e-300)
    for k, (a, b) in enumerate(zip(by_channel(x), by_channel(y), strict=True)):
        some = b > 1e-3 * size
        if some.sum() < FEW or SAME * np.std(a[some]) <= FLOAT32.u * np.abs(b).max():
            continue  # a line does not follow from so few, or from so small values
        slope = float(
            ((a[some] - a[some].mean()) * (b[some] - b[some].mean())).sum()
            / ((a[some] - a[some].mean()) ** 2).sum()
        )
        shift = float(b[some].mean() - slope * a[some].mean())
        if np.abs(np.maximum(slope * a + shift, 0) - b).max() > LINE * size:
            return None
        slopes[k], shifts[k] = slope, shift
    return slopes, shifts, np.full(x.shape[1], size)


# --- limits and thresholds ------------------------------------------------------------------------


def _limited(shown: Shown) -> Iterator[Mistake]:
    """min(ReLU, limit), or values below a limit raised to it."""
    highs = [float(one.seen.max()) for one in shown.examples if one.right.value.max() > one.seen.max()]
    if highs and np.ptp(highs) <= SAME * abs(highs[0]) and highs[0] > 0:
        limit = highs[0]
        kind = Kind(
            f"ReLU cut off at {number(limit)}",
            f"Values above {number(limit)} are cut off.",
            "Use ReLU without an upper limit.",
        )
        yield Mistake(kind, {shown.layer.name: after(lambda y, call: _clipped(y, None, limit))})
    lows = [float(one.seen.min()) for one in shown.examples if one.x.value.min() < one.seen.min()]
    if lows and np.ptp(lows) <= SAME * abs(lows[0]) and abs(lows[0]) > 0:
        floor = lows[0]
        kind = Kind(
            f"values below {number(floor)} raised to it",
            f"The lower limit is {number(floor)}, not 0.",
            "Use max(x, 0).",
        )
        yield Mistake(kind, {shown.layer.name: instead(lambda call: _clipped(call.x, floor, None))})


def _clipped(x: Bounded, low: float | None, high: float | None) -> Bounded:
    """Clipping increases no error."""
    return Bounded(np.clip(x.value, low, high), x.error, x.format)


def _thresholded(shown: Shown) -> Iterator[Mistake]:
    """x above a threshold, 0 up to it."""
    up, down = 0.0, np.inf
    for one in shown.examples:
        zero = one.seen == 0
        if (one.seen[~zero] != one.x.value[~zero]).any():
            return
        up = max(up, float(one.x.value[zero].max(initial=0)))
        down = min(down, float(one.x.value[~zero].min(initial=np.inf)))
    if not 0 < up < down:
        return
    limit = _roundest(up, down)
    kind = Kind(
        f"threshold {limit:g} for 0",
        f"Values up to {limit:g} become zero: a thresholded ReLU.",
        "Use max(x, 0).",
    )

    def cut(call: Call) -> Bounded:
        return call.x.move(lambda a: np.where(call.x.value > limit, a, 0))

    yield Mistake(kind, {shown.layer.name: instead(cut)})


def _roundest(low: float, high: float) -> float:
    """The number with the fewest digits between the two."""
    for digits in range(1, 17):
        step = 10.0 ** (np.floor(np.log10(high)) - digits + 1)
        number_ = float(f"{np.ceil(low / step) * step:.{digits}g}")
        if low <= number_ < high:
            return number_
    return low


# --- steps ---------------------------------------------------------------------------------------


def _stepped(shown: Shown) -> Iterator[Mistake]:
    """Whole multiples of a step: the same one in every call, or a part of the largest value."""
    for parts in (7, 15, 31, 63, 127, 255):
        yield from _quantized(
            shown,
            lambda y, parts=parts: float(y.max()) / parts,  # type: ignore[misc]
            f"the largest value over {parts}",
        )
    steps = [step for one in shown.examples if (step := _step(one.seen)) is not None]
    if steps and np.ptp(steps) <= 1e-4 * steps[0]:
        yield from _quantized(shown, lambda y: steps[0], number(steps[0]))


def _quantized(shown: Shown, step_of: Callable[[Array], float], words: str) -> Iterator[Mistake]:
    for how, whole in (("rounded", np.rint), ("cut off", np.floor)):
        kind = Kind(
            f"ReLU's output {how} to multiples of {words}",
            "The output is stored as integers with a scale.",
            "Keep activations in float32.",
        )

        def change(y: Bounded, call: Call, whole: Callable[[Array], Array] = whole) -> Bounded:
            step = step_of(y.value) or 1.0
            low, high = (
                whole((y.value + sign * (y.bound + 4 * call.u * y.value)) / step) for sign in (-1, 1)
            )
            value = whole(y.value / step) * step
            return Bounded(value, np.where(low == high, 4 * call.u * np.abs(value), step))

        yield Mistake(kind, {shown.layer.name: after(change)}, whole_batch=True)


def _step(y: Array) -> float | None:
    """The step of which all values are whole multiples; None if there is none."""
    levels = np.unique(y)
    if len(levels) > 1024 or len(levels) < 3:
        return None
    step = float(np.diff(levels)[np.diff(levels) > 1e-6 * levels[-1]].min(initial=np.inf))
    if not np.isfinite(step) or levels[-1] / step > LEVELS:
        return None
    step = float(levels[-1] / np.rint(levels[-1] / step))
    return step if np.abs(levels / step - np.rint(levels / step)).max() < 1e-2 else None
