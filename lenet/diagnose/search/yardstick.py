"""How far a right network is off that is computed in another way: the yardstick of what is less accurate.

A worst case proves that a value is wrong, but over several layers it is wide, and algorithms that compute
through other numbers (FFT, Winograd) exceed it where a sum of few terms is right to the last digit. So the
deviation is also compared, as a root mean square, with a noise of one unit roundoff of ‖w‖·‖x‖ at each output
of each affine layer, which is about what a plain loop has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lenet.diagnose.mistakes.wrong_forward import ROUNDED, STAGES, Changes, compose, walk
from lenet.diagnose.search.segment import Sample, Segment, fits
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FORMATS
from parity.judging.yardsticks import rms
from parity.operators.affine import Conv

# Measured on the probes: plain loops, BLAS, sums in random order, and FFT and Winograd F(2×2, 3×3) in float32
# are at 0.2 to 0.6; pixels rounded to float16 at 109, a local response normalization at 400.
PLAIN = 2.0  # times the noise: what a right network may have
FAST = 8.0  # times the noise: what a less accurate algorithm may have
FINER = 2.0**-20  # of the noise: what is left of a sum that was computed in a format with 20 more digits
PEAK = 8.0  # times the root mean square, for the largest of a million values
SYSTEMATIC = (
    0.25  # share of a deviation that a factor and a shift for each channel explain; of rounding, less
)
DRAWS = 2


@dataclass(frozen=True)
class Deviation:
    """How far a segment's values are from expected ones.

    Attributes:
        ratio: the deviation in units of the noise, over the samples the largest; infinite for a wrong shape.
        systematic: whether a factor, or a shift for each channel, explains a good part of it.
        noise: the noise relative to the values, over the samples the smallest.
    """

    ratio: float
    systematic: bool
    noise: float


def deviation(segment: Segment, expected: Sequence[Bounded] | None = None) -> Deviation:
    """The deviation from the right values, or from others.

    Args:
        segment: its samples hold what was seen.
        expected: for each sample; None: the right values.
    """
    ratio, systematic, noise = 0.0, False, np.inf
    for index, (sample, states) in enumerate(zip(segment.samples, segment.right, strict=True)):
        if len(states) <= len(segment.stages):
            return Deviation(np.inf, False, np.inf)
        right = states[-1].value
        wanted = right if expected is None else expected[index].value
        if sample.seen.shape != wanted.shape or not np.isfinite(sample.seen).all():
            return Deviation(np.inf, False, np.inf)
        if wanted.shape != right.shape or not np.isfinite(wanted).all():
            return Deviation(np.inf, False, np.inf)
        off, unit = sample.seen - wanted, _noise(segment, index)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = max(ratio, _over(rms(off), unit), _over(float(np.abs(off).max(initial=0)) / PEAK, unit))
            noise = min(noise, _over(unit, rms(right)))
        systematic |= _over(rms(off), unit) > 1 and _explained(off, wanted) > SYSTEMATIC
    return Deviation(ratio, systematic, noise)


def computed_in_finer(segment: Segment) -> bool:
    """Whether the values of one affine layer are within rounding but for errors far below it, as those of an
    FFT in float64."""
    for sample, states in zip(segment.samples, segment.right, strict=True):
        name = next(name for name in segment.stages if STAGES[name].affine)
        start = states[segment.stages.index(name)].value
        x = Bounded(start)
        finer = walk([name], x, sample.params, segment.dtype, compose(segment.base, ROUNDED))
        slack = FINER * FORMATS[segment.dtype].u * _sizes(name, start, sample)
        wide = Bounded(finer.value, finer.bound + slack)
        after = segment.stages[segment.stages.index(name) + 1 :]
        expected = walk(after, wide, sample.params, segment.dtype, segment.base)
        if not fits(sample.seen, expected, segment.dtype):
            return False
    return True


def nearer(segment: Segment, changes: Changes) -> bool:
    """Whether a mistake explains values of several layers as well as a plain loop would, and the right one
    does not: what tells them apart where the worst case of rounding contains both."""
    expected = [segment.expected(index, changes) for index in range(len(segment.samples))]
    wanted = [one for one in expected if one is not None]
    if len(wanted) < len(expected) or deviation(segment).ratio <= FAST:
        return False
    return deviation(segment, wanted).ratio <= PLAIN


def _over(a: float, b: float) -> float:
    return 0.0 if a == 0 else a / b if b else np.inf


def _noise(segment: Segment, index: int) -> float:
    """The root mean square of the noise at the segment's last layer."""
    key = f"noise {index}"
    kept: dict[str, float] = segment.__dict__.setdefault("kept", {})
    if key not in kept:
        sample, states = segment.samples[index], segment.right[index]
        rng = np.random.default_rng(index)
        offs = [_simulated(segment, sample, states, rng) - states[-1].value for _ in range(DRAWS)]
        rounding = FORMATS[segment.dtype].u * rms(states[-1].value)
        kept[key] = max(rounding, *(rms(off) for off in offs))
    return kept[key]


def _simulated(segment: Segment, sample: Sample, states: list[Bounded], rng: np.random.Generator) -> Array:
    """The output of the right network with noise at each affine layer."""
    x = states[0].value
    for name in segment.stages:
        y = walk([name], Bounded(x), sample.params, segment.dtype, segment.base).value
        if STAGES[name].affine:
            sizes = FORMATS[segment.dtype].u * _sizes(name, x, sample)
            y = y + sizes * rng.standard_normal(y.shape)
        x = y
    return x


def _sizes(name: str, x: Array, sample: Sample) -> Array:
    """‖w‖·‖x‖ for each output channel of each item, of the window with the largest ‖x‖."""
    w = sample.params[f"{name}.weight"]
    norms = np.linalg.norm(w.reshape(len(w), -1), axis=1)
    squares = x**2
    if isinstance(STAGES[name].operator, Conv):
        side = w.shape[2]
        maps = np.pad(squares.sum(axis=1), ((0, 0), (side // 2, side // 2), (side // 2, side // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(maps, (side, side), axis=(1, 2))
        largest = np.sqrt(windows.sum(axis=(3, 4)).max(axis=(1, 2)))
        return norms[None, :, None, None] * largest[:, None, None, None]
    return norms[None, :] * np.sqrt(squares.reshape(len(x), -1).sum(axis=1))[:, None]


def _explained(off: Array, right: Array) -> float:
    """The share of the deviation that a factor and a shift for each channel explain."""
    axes = tuple(k for k in range(off.ndim) if k != 1)
    rest = off - off.mean(axis=axes, keepdims=True)
    around = right - right.mean(axis=axes, keepdims=True)
    if around.any():
        squares = (around**2).sum(axis=axes, keepdims=True)
        shared = (rest * around).sum(axis=axes, keepdims=True)
        rest = rest - np.divide(shared, squares, out=np.zeros_like(squares), where=squares > 0) * around
    total = float((off**2).sum())
    return 1 - float((rest**2).sum()) / total if total else 0.0
