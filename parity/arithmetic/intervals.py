"""What errors of its operands make of a result: intervals that are carried through an operation."""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product

import numpy as np

from parity.arithmetic.floats import U64, format_of
from parity.arithmetic.number import Array, Function


def wide(x: Array) -> Array:
    return x.astype(np.float64, copy=False)


def held(x: Array) -> Array:
    """Floats in float64; integers, booleans and strings as they are."""
    return x if format_of(x) is None else wide(x)


def through(function: Function, x: Sequence[Array], errors: Sequence[Array | None], value: Array) -> Array:
    """What errors of the arguments x make of the value of a function of them."""
    known = [np.zeros(one.shape) if error is None else error for one, error in zip(x, errors, strict=True)]
    sure = np.broadcast_to(True, value.shape)
    for error in known:
        sure = sure & (error == 0)
    if not function.monotone:
        return np.where(sure, 0.0, function.slope * sum(known))
    corners = [wide(np.asarray(function.f(*ends))) for ends in product(*map(_ends, x, errors))]
    widest = function.slope * known[0] if len(known) == 1 and np.isfinite(function.slope) else None
    lowest, highest = reduce(np.minimum, corners), reduce(np.maximum, corners)
    far = reach(lowest, wide(value), highest, widest, rounded=not function.exact)
    if value.dtype.kind != "f":
        far = np.rint(far)  # integers and booleans are whole steps apart
    return np.where(sure, 0.0, far)


def _ends(x: Array, error: Array | None) -> tuple[Array, ...]:
    """Both ends of the interval of each value, in its own dtype. Those of floats are rounded outwards."""
    if error is None:
        return (x,)
    low, high = x - error, x + error
    if x.dtype.kind == "f":
        moved = (error > 0) & np.isfinite(x)
        low = np.where(moved, np.nextafter(low, -np.inf), low)
        return low, np.where(moved, np.nextafter(high, np.inf), high)
    lowest, highest = (0, 1) if x.dtype.kind == "b" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    return tuple(np.rint(end).clip(lowest, highest).astype(x.dtype) for end in (low, high))


def carried_by(
    product: np.ufunc, a: Array, a_error: Array | None, b: Array, b_error: Array | None
) -> Array | None:
    """What errors of both factors make of a product: |a|·e_b + e_a·|b| + e_a·e_b; None if there are none."""
    a_error = None if _is_zero(a_error) else a_error
    b_error = None if _is_zero(b_error) else b_error
    if a_error is None and b_error is None:
        return None
    a, b = wide(a), wide(b)
    with np.errstate(invalid="ignore", over="ignore"):
        if b_error is None:
            total = product(a_error, np.abs(b))
        elif a_error is None:
            total = product(np.abs(a), b_error)
        else:
            total = product(np.abs(a) + a_error, b_error) + product(a_error, np.abs(b))
    return _unknown(total, a, b)


def _is_zero(error: Array | None) -> bool:
    """Whether there is no error. Where there is one, the first value tells most often."""
    return error is None or not error.size or (not error.flat[0] and not error.any())


def _unknown(error: Array, a: Array, b: Array) -> Array:
    """Zero times an infinite error says nothing: any error is possible. (An infinite value is no error.)"""
    if _any_nan(error) and np.isfinite(a).all() and np.isfinite(b).all():
        return np.where(np.isnan(error), np.inf, error)
    return error


def _any_nan(x: Array) -> bool:
    """Whether there is a NaN: the largest value is then one. It saves an array of truth values."""
    return bool(np.isnan(x.max(initial=0)))


def reach(lowest: Array, value: Array, highest: Array, widest: Array | None, rounded: bool = True) -> Array:
    """How far an interval reaches from a value inside it, all three computed; never more than `widest`.

    Args:
        lowest, highest: the ends of the interval.
        value: inside it.
        widest: a known limit.
        rounded: whether the three were rounded when they were computed.
    """
    with np.errstate(invalid="ignore"):
        far = np.maximum(highest - value, value - lowest)
        far = far + 4 * U64 * (np.maximum(np.abs(highest), np.abs(lowest)) if rounded else far)
    if _any_nan(far):  # where infinite
        far = np.where(np.isnan(far), np.where(highest == lowest, 0.0, np.inf), far)
    return far if widest is None else np.minimum(far, widest)


def rise(value: Array, highest: Array, most: Callable[[], Array]) -> Array:
    """How far the largest of some values may be off, whose intervals end at `highest` and errors at `most`.

    No further down than up: the interval of the largest value reaches as far to both sides.
    """
    with np.errstate(invalid="ignore"):
        far = np.asarray(highest - value)
        same = far == 0
        far += 4 * U64 * np.abs(highest)
    if (same & (far > 0)).any():  # no error, or one that the rounding of its end hides
        far = np.minimum(far, most())
    return np.where(np.isnan(far), np.inf, far) if _any_nan(far) else far
