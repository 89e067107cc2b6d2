"""Changes of type: Cast, CastLike, and functions with which other operators change types."""

from dataclasses import dataclass, replace
from typing import ClassVar

import ml_dtypes
import numpy as np

from parity.arithmetic import Array, Bounded, Integers, Looped, Number
from parity.arithmetic.floats import FORMATS, U64, Format
from parity.arithmetic.integers import integers
from parity.errors import Unjudged
from parity.operators.element_types import (
    FLOAT,
    FLOAT8E8M0,
    FLOATS_OF_8_BITS,
    NUMBERS,
    STRING,
    element_type,
)
from parity.operators.operator import Elementwise, register

TEXT = "USOT"  # kinds of NumPy's types that hold text
SMALL_INTEGERS = ("int2", "uint2", "int4", "uint4")


def exactly(array: Array, like: Number) -> Number:
    """An array without error, in the arithmetic of `like`: every candidate must have the same bits."""
    if isinstance(like, Bounded):
        return replace(like, value=array, error=None)
    return replace(like, value=array) if isinstance(like, Looped) else integers(array)


def type_of(x: Number) -> np.dtype:
    """The type of the candidate's own values; a computed reference is in float64 whatever that type is."""
    if isinstance(x, Bounded):
        computed = x.error is not None and x.value.dtype.kind == "f"
        return x.format.dtype if computed else x.value.dtype
    assert isinstance(x, Looped)
    return x.value.dtype


def cast(x: Number, to: np.dtype, whole: np.ufunc = np.trunc) -> Number:
    """x in another type: integers, booleans, or floats that have a `Format`.

    A cast to floats rounds to the nearest, ties to even. A cast of floats to integers rounds with `whole`,
    which must be monotone.

    Raises:
        Unjudged: the type is none of these.
    """
    if isinstance(x, Integers):
        if to.name not in FORMATS:
            raise Unjudged("Cast in exact integers")
        return x
    assert isinstance(x, Bounded | Looped)
    value = _opened(x.value)
    if to.name in FORMATS:
        form = FORMATS[to.name]
        if isinstance(x, Looped):
            computed = x.format is form and value.dtype.kind == "f"  # in this format already
            return x if computed else replace(x, value=form.round(value), format=form)
        return _to_float(x, value, form)
    if to.kind not in "biu":
        raise Unjudged(f"Cast from {x.value.dtype} to {to}")
    with np.errstate(invalid="ignore"):
        cut = (whole(value) if value.dtype.kind == "f" and to.kind != "b" else value).astype(to)
    if isinstance(x, Looped):
        return replace(x, value=cut)
    if to.kind == "b":
        off = None if x.error is None else ((np.abs(value) <= x.error) & (x.error > 0)).astype(np.float64)
        return Bounded(cut, off, x.format)
    return _to_integer(x, value, cut, whole)


def _opened(value: Array) -> Array:
    """Numbers of a type without arithmetic (float8, int4), in a type with arithmetic that holds them all."""
    if value.dtype.kind in TEXT:
        raise Unjudged("Cast of text")
    if value.dtype.name in SMALL_INTEGERS:
        return value.astype(np.int64)
    return value.astype(np.float64) if value.dtype.kind == "V" or value.dtype == ml_dtypes.bfloat16 else value


def _to_float(x: Bounded, value: Array, form: Format) -> Bounded:
    """Round once, unless `form` holds every number of the candidate's format. Overflow gives infinity."""
    wide = value.astype(np.float64)
    if x.error is not None and value.dtype.kind == "f" and _holds(form, x.format):
        return Bounded(wide, x.error, form)
    off = x.bound
    ends = [form.round(wide + end).astype(np.float64) for end in (-off, off)]
    with np.errstate(invalid="ignore"):
        error = off + (form.u * (np.abs(wide) + off) + form.smallest / 2) * (1 + 8 * U64)
    error = np.where((off == 0) & ((ends[0] == value) | np.isnan(wide)), 0.0, error)
    due = np.isinf(ends[0]) & (ends[0] == ends[1])
    error = np.where(due, 0.0, np.where(np.isinf(ends[0]) | np.isinf(ends[1]), np.inf, error))
    return Bounded(np.where(due, ends[0], wide), error if error.any() else None, form)


def _holds(one: Format, other: Format) -> bool:
    """Whether format `one` holds every number of format `other`."""
    return one.digits >= other.digits and one.lowest <= other.lowest


def _to_integer(x: Bounded, value: Array, cut: Array, whole: np.ufunc) -> Bounded:
    """An error may move a value to another integer. Out of range, any result is right: none is defined."""
    if value.dtype.kind in "biu":
        return Bounded(cut, x.error, x.format)  # high bits are dropped, in the standard and in NumPy
    limits = np.iinfo(cut.dtype)
    with np.errstate(invalid="ignore"):
        lowest, middle, highest = (whole(value + off) for off in (-x.bound, 0.0, x.bound))
        error = np.maximum(highest - middle, middle - lowest)
    outside = ~((lowest >= float(limits.min)) & (highest < float(limits.max) + 1))
    error = np.where(outside, np.inf, error)
    return Bounded(cut, error if error.any() else None, x.format)


@register
@dataclass(frozen=True)
class Cast(Elementwise):
    """x in the type `to`. Types of 8 bits or fewer are judged only if the input was recorded."""

    TYPE: ClassVar[str] = "Cast"
    TYPES: ClassVar[tuple[str, ...]] = ("to",)

    to: int = FLOAT
    saturate: int = 1
    round_mode: str = "up"

    def evaluate(self, x: Number) -> Number:
        to = element_type(self.to)
        if self.to == STRING:
            raise Unjudged("Cast to text, whose digits the standard leaves open")
        if to.kind in "biu" or to.name in FORMATS:
            return cast(x, to)
        if not isinstance(x, Bounded) or (x.error is not None and x.error.any()):
            raise Unjudged(f"Cast to {to} of values that were not recorded")
        return Bounded(self.to_small(_opened(x.value), to), None, x.format)

    def to_small(self, value: Array, to: np.dtype) -> Array:
        """The nearest number of a float type of 8 bits or fewer; for an integer type, the low bits."""
        if to.name in SMALL_INTEGERS and value.dtype.kind == "f":
            value = np.trunc(value).astype(np.int64)
        from onnx import numpy_helper  # imported here, because no other operator needs it

        if self.to == FLOAT8E8M0:
            return numpy_helper.to_float8e8m0(value, bool(self.saturate), self.round_mode).astype(to)
        if self.to in FLOATS_OF_8_BITS and self.saturate:
            return numpy_helper.saturate_cast(value, to)
        return value.astype(to)


@register
@dataclass(frozen=True)
class CastLike(Elementwise):
    """The first input in the type of the second."""

    TYPE: ClassVar[str] = "CastLike"

    saturate: int = 1
    round_mode: str = "up"

    def evaluate(self, x: Number, like: Number) -> Number:
        return Cast(self._to(like), self.saturate, self.round_mode).evaluate(x)

    def sample(self, points: tuple[Array, ...], x: Number, like: Number) -> Number:
        return Cast(self._to(like), self.saturate, self.round_mode).sample(points, x)

    def _to(self, like: Number) -> int:
        return NUMBERS[type_of(like)]
