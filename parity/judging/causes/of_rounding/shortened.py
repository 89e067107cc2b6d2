"""Rounding to a shorter format: its words, and what it makes of values that are known to within a bound."""

from collections.abc import Callable

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.arithmetic.floats import FLOAT16, Format, format_of
from parity.arithmetic.rounding_modes import CutOff, TiesAway

NAMES = {"tf32": "TF32", "bfloat16": "bfloat16", "float16": "float16"}
# They differ below 6.1e-5, where float16 has fewer, and above 65504, where it ends.
EQUALLY_LONG = "with 10 bits of fraction: TF32 or float16"
Change = Callable[[Number], Number]


def rounded_to(form: Format) -> str:
    """How values become numbers of a format, in words: "rounded to TF32", "cut off to bfloat16"."""
    name = NAMES[form.name]
    if isinstance(form, CutOff):
        return f"cut off to {name}"
    return f"rounded to {name}" + (", ties away from zero" if isinstance(form, TiesAway) else "")


def name_of(form: Format) -> str:
    """The name of a format, with how it is rounded to if that is unusual."""
    return NAMES[form.name] + (", cut off" if isinstance(form, CutOff) else "")


def or_tf32(form: Format) -> str:
    """What a sentence adds that says of values that they went through float16."""
    return " (or through TF32, of as many digits, where none is below 6.1e-5)" if form is FLOAT16 else ""


def shortened(form: Format) -> Change:
    """Rounds to a format; where a value is not known well enough, to any of the numbers that it may give."""
    return monotone(form.round)


def monotone(function: Callable[[Array], Array]) -> Change:
    """Applies a function that never decreases to floats, and to both ends of what values may be."""

    def change(a: Array) -> Array:
        return a if format_of(a) is None else function(a).astype(a.dtype)

    def changed(x: Number) -> Number:
        if not isinstance(x, Bounded) or x.error is None or format_of(x.value) is None:
            return x.move(change)
        value = x.value.astype(np.float64)
        near, low, high = (function(a).astype(np.float64) for a in (value, value - x.error, value + x.error))
        with np.errstate(invalid="ignore"):
            error = np.maximum(high - near, near - low)
        error = np.where((high == near) & (low == near), 0.0, error)
        return Bounded(near, error, x.format)

    return changed


def has_ties(x: Number | None, form: TiesAway) -> bool:
    """Whether rounding to even would give another value somewhere."""
    if not isinstance(x, Bounded | Looped) or format_of(x.value) is None:
        return False
    return form.has_ties(x.value)


def are_in(found: Array, form: Format) -> bool:
    """Whether all values are numbers of a format, and not so round that those of any format are."""
    wide = found.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        short = form.round(wide).astype(np.float64)
    return bool(np.array_equal(short, wide, equal_nan=True))
