"""Outputs that are a line of the right ones: a factor, a shift, other biases, read off from the values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.second_look.fitted_orders import ZERO, nearest
from lenet.diagnose.mistakes.second_look.shown import LINE, SAME, Example, Shown, listed
from lenet.diagnose.mistakes.wrong_forward import Call, after, before
from lenet.network.architecture import LAYERS
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FLOAT32

BIASES = [f"{layer.name}.bias" for layer in LAYERS if layer.affine]


@dataclass(frozen=True)
class Lines:
    """For each example and channel: found = slope · right + shift, where right is without its bias.

    Attributes:
        slope: (examples, channels); NaN where it does not follow from the values.
        centre, middle: (examples, channels) the means of right and of found.
        b: (examples, channels) the right biases, zeros in a layer that has none.
        noise: (examples, 1) what rounding may do to a shift.
    """

    slope: Array
    centre: Array
    middle: Array
    b: Array
    noise: Array

    @property
    def quiet(self) -> int:
        """The example in which rounding does least to a shift."""
        return int(np.argmin(self.noise))

    def shift(self, slope: Array | float) -> Array:
        """The shifts (examples, channels) with these slopes."""
        return self.middle - slope * self.centre

    def near(self, one: Array, two: Array) -> bool:
        """Whether two sets of shifts (examples, channels) are the same."""
        size = np.abs(one).max(1, keepdims=True)
        return bool((np.abs(one - two) <= LINE * size + self.noise).all())

    def is_slope(self, value: Array | float) -> bool:
        """Whether all slopes that are known are this."""
        return bool(np.nanmax(np.abs(self.slope - value) / np.abs(value), initial=0) <= SAME)


def mistakes(shown: Shown) -> Iterator[Mistake]:
    """Factors and shifts of the output, for all channels or for each; and other biases."""
    lines = _lines(shown)
    if lines is None or np.isnan(lines.slope).all():
        return
    name = shown.layer.name
    if lines.is_slope(1.0):
        yield from _shifted(shown, lines)
        return
    factor = float(np.nanmedian(lines.slope))
    if factor and lines.is_slope(factor):
        yield from _scaled(name, factor, lines)
        return
    known = np.isfinite(lines.slope).any(0)
    factors = np.ones(len(known))
    factors[known] = np.nanmedian(lines.slope[:, known], axis=0)
    if factors.all() and lines.is_slope(factors):
        yield from _scaled_channels(name, factors, lines)


def by_channel(a: Array) -> Array:
    """(channels, all other values)."""
    return np.moveaxis(a, 1, 0).reshape(a.shape[1], -1)


def _lines(shown: Shown) -> Lines | None:
    """The line of each channel; None if some channel is on none."""
    found = []
    for one in shown.examples:
        b = one.params.get(f"{shown.layer.name}.bias", np.zeros(one.seen.shape[1]))
        right, seen = by_channel(one.right.value) - b[:, None], by_channel(one.seen)
        centre, middle = right.mean(1, keepdims=True), seen.mean(1, keepdims=True)
        spread = np.sqrt(((right - centre) ** 2).mean(1, keepdims=True))
        noise = FLOAT32.u * max(np.abs(right).max(), np.abs(seen).max())
        unclear = noise >= SAME * spread
        variance = np.where(unclear, 1, spread**2)
        slope = ((right - centre) * (seen - middle)).mean(1, keepdims=True) / variance
        off = np.abs(seen - middle - slope * (right - centre))[~unclear[:, 0]]
        if off.max(initial=0) > LINE * np.abs(seen - middle).max() + 16 * noise:
            return None
        slope[unclear] = np.nan
        found.append((slope[:, 0], centre[:, 0], middle[:, 0], b, [16 * noise]))
    return Lines(*(np.array(some) for some in zip(*found, strict=True)))


# --- factors -----------------------------------------------------------------------------------


def line(
    factor: Array | float, shift: Array | float, unsure: float = 0.0
) -> Callable[[Bounded, Call], Bounded]:
    """A change of the output to factor · y + shift, for numbers that are known to 4 units of rounding.

    Args:
        factor, shift: one number for all channels, or one for each.
        unsure: what a shift that is read off may be off by.
    """

    def change(y: Bounded, call: Call) -> Bounded:
        f, s = (np.asarray(one).reshape(-1, *[1] * (y.ndim - 2)) for one in (factor, shift))
        size = np.abs(f * y.value) + np.abs(s)
        return Bounded(f * y.value + s, np.abs(f) * y.bound + 8 * call.u * size + unsure)

    return change


def number(value: float) -> str:
    """Six digits of a number, or what it is usually written as."""
    text = f"{value:.6g}"
    if len(text) > 5:
        for n in range(2, 1001):
            if abs(value * n - 1) < 2e-7:
                return f"1/{n}"
    return text


def rounded(values: Array) -> str:
    """The first of some numbers, with four digits each."""
    return listed(np.array([float(f"{one:.4g}") for one in values]), 6)


def _scaled(name: str, factor: float, lines: Lines) -> Iterator[Mistake]:
    words = number(factor)
    remedy = "Leave the factor out; a dropout that scales, a batch norm or a gain may hold it."
    shift = lines.shift(factor)
    if lines.near(shift, factor * lines.b):
        kind = Kind(
            f"result multiplied by {words}", f"The whole output is {words} times what it should be.", remedy
        )
        yield Mistake(kind, {name: after(line(factor, 0.0))})
    if lines.near(shift, lines.b):  # a factor near 1 may be either: the bound decides
        kind = Kind(
            f"weights multiplied by {words}",
            f"The products are {words} times what they should be; the bias is right.",
            remedy,
        )
        yield Mistake(kind, {name: before(lambda call: replace(call, w=call.w * factor))})


def _scaled_channels(name: str, factors: Array, lines: Lines) -> Iterator[Mistake]:
    remedy = "Leave a batch norm or a gain out, or fold it into the weights and the bias."
    words = rounded(factors)
    found = lines.shift(factors)
    shift = (found - factors * lines.b)[lines.quiet]
    if lines.near(found, factors * lines.b):
        kind = Kind(
            f"channels multiplied by {words}", "Each channel of the output has a factor of its own.", remedy
        )
        yield Mistake(kind, {name: after(line(factors, 0.0))})
    elif lines.near(found, factors * lines.b + shift):
        kind = Kind(
            f"channels multiplied by {words} and shifted",
            "Each channel of the output has a factor and a shift of its own, as behind a batch norm.",
            remedy,
        )
        yield Mistake(kind, {name: after(line(factors, shift))})


# --- biases ------------------------------------------------------------------------------------


def _shifted(shown: Shown, lines: Lines) -> Iterator[Mistake]:
    name, shift, quiet = shown.layer.name, lines.shift(1.0), lines.quiet
    added = shift - lines.b
    if lines.near(shift, lines.b):
        return
    if lines.near(added, np.broadcast_to(added[quiet], added.shape)):
        by = float(np.median(added[quiet]))
        if np.ptp(added[quiet]) <= SAME * abs(by) + 2 * lines.noise[quiet, 0]:
            kind = Kind(
                f"{number(by)} added to the result",
                "The same number is added to all values.",
                "Leave it out.",
            )
        else:
            kind = Kind(
                f"numbers added to the channels: {rounded(added[quiet])}",
                "Each channel has the same number added in every call, whatever the parameters.",
                "Leave it out: a second bias or a batch norm's shift, perhaps.",
            )
        yield Mistake(kind, {name: after(line(1.0, added[quiet]))})
    if not shown.layer.affine:
        return
    if lines.near(shift, np.broadcast_to(shift[quiet], shift.shape)) and shift[quiet].any():
        own = shift[quiet].copy()
        kind = Kind(
            "bias not loaded",
            "The bias is the same in every call, whatever is passed; the weights are right.",
            "Load the bias: check the keys that load_state_dict reports as missing.",
        )
        yield Mistake(kind, {name: before(lambda call: replace(call, b=own))})
    yield from _other_biases(shown.examples, name, lines)


def _other_biases(examples: tuple[Example, ...], name: str, lines: Lines) -> Iterator[Mistake]:
    shift, own = lines.shift(1.0), lines.b[lines.quiet]
    factor = float(shift[lines.quiet] @ own / max(own @ own, 1e-300))
    if factor and lines.near(shift, factor * lines.b):
        kind = Kind(
            f"bias multiplied by {factor:.4g}", "The bias has a factor of its own.", "Add it as it is."
        )
        yield Mistake(kind, {name: before(lambda call: replace(call, b=call.b * factor))})
    everything = [
        np.concatenate([one.params[key] for key in [f"{name}.bias", *BIASES]])[:, None] for one in examples
    ]
    order = nearest([row[:, None] for row in shift], everything)
    if order is None:
        return
    count = lines.b.shape[1]
    kept, zeros = order == np.arange(count), order == ZERO
    remedy = "Keep the order of the reference's bias; pair parameters by name."
    if (kept | zeros).all():
        kind = Kind(f"bias zero in channels {listed(np.flatnonzero(zeros))}", "Some biases are zero.", remedy)
    elif (order < count).all():
        kind = Kind(f"bias in another order: {listed(order)}", "The biases belong to other channels.", remedy)
    else:
        kind = Kind(
            "bias of another layer in some channels",
            f"Channels {listed(np.flatnonzero(order >= count))} have biases of other layers.",
            remedy,
        )

    def alter(call: Call) -> Call:
        known = np.concatenate([call.params[key] for key in [f"{name}.bias", *BIASES]])
        return replace(call, b=np.where(zeros, 0, known[np.maximum(order, 0)]))

    yield Mistake(kind, {name: before(alter)})
