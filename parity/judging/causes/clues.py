"""Where a tensor is wrong that no known mistake explains: what can be said of it all the same."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import Format
from parity.judging.beyond_the_bound import distance, over
from parity.judging.causes.of_places.of_layout import ranked

LISTED = 8  # indices that a line lists
NAMES = {0: "item", 1: "channel"}


def clues(found: Array, expected: Bounded, form: Format) -> Iterator[str]:
    """Lines on a wrong tensor: a factor, another order, or which part of it is wrong.

    Args:
        found: the candidate's values.
        expected: what they should be.
        form: the candidate's format.
    """
    seen, right, bound = found.astype(np.float64), expected.value.astype(np.float64), expected.bound
    if seen.size < 2:
        return
    if np.ptp(seen) == 0:
        yield "every value is zero" if not seen.any() else f"every value is {seen.flat[0]:.6g}"
    outside = over(distance(seen, right, bound, form), bound) > 1
    if not outside.any():
        return
    yield from _factor(seen, right)
    yield from _limits(seen, right, outside)
    yield from _order(seen, right, bound)
    yield from _part(outside)


def _factor(seen: Array, right: Array) -> Iterator[str]:
    """One number by which all values are multiplied, or which is added to all."""
    if np.ptp(seen) == 0:
        return
    large = np.abs(right) > 1e-3 * np.abs(right).max()
    factors, steps = seen[large] / right[large], (seen - right).ravel()
    factor = float(np.median(factors))
    all_of_it = np.abs(seen - factor * right).max() <= 1e-4 * np.abs(seen).max()
    if abs(factor - 1) > 1e-3 and all_of_it and np.ptp(factors) <= 1e-4 * abs(factor):
        yield f"every value is {factor:.6g} times what is expected"
    elif np.ptp(steps) <= 1e-4 * abs(np.median(steps)):
        yield f"every value is {np.median(steps):.6g} more than expected"


def _limits(seen: Array, right: Array, outside: Array) -> Iterator[str]:
    """Values that are cut off: all wrong ones lie at the largest or smallest value, and should lie beyond."""
    if np.ptp(seen) == 0:
        return
    low, high = seen.min(), seen.max()
    below, above = (seen == low) & (right < low), (seen == high) & (right > high)
    if (outside & ~below & ~above).any():
        return
    for cut, limit, word in ((below, low, "below"), (above, high, "above")):
        if (cut & outside).any():
            yield f"values {word} {limit:.6g} are cut off"


def _order(seen: Array, right: Array, bound: Array) -> Iterator[str]:
    """The right values in other places."""
    for a, b in combinations(range(seen.ndim), 2):
        if seen.shape[a] == seen.shape[b] > 1 and _equal(seen, right.swapaxes(a, b), bound.swapaxes(a, b)):
            yield f"axes {a} and {b} are exchanged"
    for axis in range(seen.ndim):
        size = seen.shape[axis]
        others = tuple(k for k in range(seen.ndim) if k != axis)
        if size < 2 or not others:
            continue
        order = ranked(seen.sum(others), right.sum(others))
        if not (order == np.arange(size)).all() and _equal(
            seen, right.take(order, axis), bound.take(order, axis)
        ):
            yield f"the {_name(axis)}s are in another order: {_listed(order)}"


def _equal(seen: Array, right: Array, bound: Array) -> bool:
    return bool((np.abs(seen - right) <= bound).all())


def _part(outside: Array) -> Iterator[str]:
    """The part of the tensor outside of which all is right."""
    for axis in range(outside.ndim):
        others = tuple(k for k in range(outside.ndim) if k != axis)
        wrong = np.flatnonzero(outside.any(others))
        if wrong.size < outside.shape[axis]:
            if axis >= 2 and set(wrong) <= {0, outside.shape[axis] - 1}:
                yield f"wrong only at the border of axis {axis}"
            else:
                yield f"wrong only in {_name(axis)}s {_listed(wrong)} of {outside.shape[axis]}"


def _name(axis: int) -> str:
    return NAMES.get(axis, f"axis {axis} position")


def _listed(numbers: Array) -> str:
    more = ", …" if len(numbers) > LISTED else ""
    return ", ".join(map(str, numbers[:LISTED].tolist())) + more
