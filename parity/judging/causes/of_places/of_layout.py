"""The right values in another layout: axes, channels or rows in another order, another shape."""

from collections.abc import Iterator
from itertools import permutations
from math import prod
from typing import Any

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.number import Move
from parity.judging.beyond_the_bound import distance, over
from parity.judging.causes.mistake import Changed, Mistake
from parity.operators.recurrent import Recurrent

MOST_AXES = 5  # up to which all orders of axes are tried
LISTED = 8  # numbers that a name lists
NAMES = ("items of the batch", "channels")
STEPS, ITEMS, DIRECTIONS = "steps", "items of the batch", "directions"
REMEDY = "Transpose explicitly where one layout ends and the other begins."


def layouts(stretch: Any, found: Array, right: Bounded) -> Iterator[Mistake]:
    """The layouts in which a candidate's values are the right ones; the values themselves show them.

    Args:
        stretch: computes the tensor.
        found: the candidate's values.
        right: what they should be, in their own shape.
    """
    if found.dtype.kind not in "fV" or found.size != right.size or found.size < 2:
        return
    orders = _orders(found, right, _named(stretch, right.ndim))
    for name, said, move in (*_axes(found, right), *_shapes(found, right), *orders):
        if _equal(found, right, move):
            changed = Changed(stretch, after=lambda y, inputs, move=move: y.move(move))  # type: ignore[misc]
            yield Mistake(name, said, REMEDY, changed, wider=True)


Layout = tuple[str, str, Move]


def _axes(found: Array, right: Bounded) -> Iterator[Layout]:
    ndim, shape = right.ndim, right.shape
    if ndim > MOST_AXES or ndim < 2:
        return
    last = (0, *range(2, ndim), 1)
    first = (0, ndim - 1, *range(1, ndim - 1))
    known = {last: "channels last (NHWC) for channels first", first: "channels first for channels last"}
    for order in permutations(range(ndim)):
        moved = tuple(shape[k] for k in order)
        if order == tuple(range(ndim)):
            continue
        words = known.get(order, "another order of the axes") if ndim > 2 else "transposed"
        if moved == found.shape:
            yield (
                f"{words}: axes {order}",
                "All values are right, but the axes of the result are in another order.",
                lambda a, order=order: a.transpose(order),  # type: ignore[misc]
            )
        long = [k for k in order if shape[k] > 1]
        if (order in known or ndim == 2) and long != sorted(long):
            yield (
                f"{words}, reshaped and not transposed: axes {order}",
                "All values are right, but they are in the order of another layout.",
                lambda a, order=order: a.transpose(order).reshape(found.shape),  # type: ignore[misc]
            )


def _shapes(found: Array, right: Bounded) -> Iterator[Layout]:
    if found.shape == right.shape:
        return
    without = [tuple(n for n in shape if n != 1) for shape in (found.shape, right.shape)]
    words = "another shape"
    if without[0] == without[1]:
        fewer = found.ndim < right.ndim
        words = f"an axis of length 1 {'missing' if fewer else 'added'}"
        if right.shape == (1, *found.shape):
            words = "batch dimension missing"
        if found.shape == (1, *right.shape):
            words = "batch dimension added"
    yield (
        f"{words}: shape {list(found.shape)} for {list(right.shape)}",
        "All values are right and in order, but the shape is another one.",
        lambda a: a.reshape(found.shape),
    )


def _named(stretch: Any, ndim: int) -> tuple[str, ...]:
    """What lies along the first axes of the result."""
    layers = [node.operator for node in stretch.nodes if isinstance(node.operator, Recurrent)]
    if not layers:
        return NAMES
    if stretch.nodes[-1].operator is not layers[-1]:
        return ()  # squeezed or transposed behind the layer
    if layers[-1].layout:
        return (ITEMS, STEPS, DIRECTIONS) if ndim == 4 else (ITEMS, DIRECTIONS)
    return (STEPS, DIRECTIONS, ITEMS) if ndim == 4 else (DIRECTIONS, ITEMS)


def _orders(found: Array, right: Bounded, named: tuple[str, ...]) -> Iterator[Layout]:
    """Along one axis, the order that the sums over the others show."""
    if found.shape != right.shape:
        return
    seen, true = found.astype(np.float64), right.value.astype(np.float64)
    for axis, size in enumerate(found.shape):
        others = tuple(k for k in range(found.ndim) if k != axis)
        if size < 2 or prod(found.shape) == size:
            continue
        order = ranked(seen.sum(others), true.sum(others))
        what = named[axis] if axis < len(named) else f"positions of axis {axis}"
        what = what if found.ndim > 1 else "values"
        if (order == np.arange(size)).all():
            continue
        yield (
            f"{what} {in_words(order)}",
            "All values are right, but in another order along one axis.",
            lambda a, order=order, axis=axis: a.take(order, axis),  # type: ignore[misc]
        )


def ranked(seen: Array, true: Array) -> Array:
    """The order of the right values in which they have the ranks of those seen."""
    order = np.empty(seen.size, int)
    order[np.argsort(seen)] = np.argsort(true)
    return order


def in_words(order: Array) -> str:
    """What an order is called that is not that of the reference."""
    size = len(order)
    if size == 2:
        return "exchanged"
    if (order == np.arange(size)[::-1]).all():
        return "in reverse order"
    step = int(order[0])
    if (order == (np.arange(size) + step) % size).all():
        return f"shifted by {min(step, step - size, key=abs)}"
    more = ", …" if size > LISTED else ""
    return f"in another order: {', '.join(map(str, order[:LISTED].tolist()))}{more}"


def _equal(found: Array, right: Bounded, move: Move) -> bool:
    value, bound = move(right.value), move(right.bound)
    if value.shape != found.shape:
        return False
    off = distance(found.astype(np.float64), value.astype(np.float64), bound, right.format)
    return bool((over(off, bound) <= 1).all())
