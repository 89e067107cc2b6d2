"""Right values in other places: digits, channels, features or positions in another order, read off."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np

from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.second_look.shown import LINE, Example, Shown, listed
from lenet.diagnose.mistakes.wrong_forward import Call, after, before, moved
from lenet.network.architecture import ACTIVATION_SHAPES
from parity.arithmetic import Array, Bounded
from parity.operators.affine import Gemm

CLOSE = 1e-4  # relative: values of another place differ by more, those of the same place by rounding
ZERO = -1  # in an order: this place holds zeros
AXES = "CHW"  # of the maps that are flattened
DIRECTIONS = 16  # of random projections that stand for long rows


def mistakes(shown: Shown) -> Iterator[Mistake]:
    """Right values of the last layer in other places."""
    yield from _digits(shown)
    for axes, word in ((1,), "channels"), ((2, 3), "positions"):
        if max(axes) < shown.examples[0].seen.ndim:
            name = "features" if shown.examples[0].seen.ndim == 2 else word
            yield from _of_axes(shown, axes, name)
    yield from _columns(shown)


def nearest(found: list[Array], known: list[Array]) -> Array | None:
    """For each row, the row of the known ones that is the same in all of the arrays; None if one has none.

    Args:
        found, known: arrays (rows, values), as many of both; the rows may be fewer or more.

    Returns:
        Indices of rows of `known`: the row's own where that is the same, too; ZERO where it holds zeros.
    """
    left, right = _marks(found, known), _marks(known, known)
    with_zero = np.vstack([right, np.zeros(right.shape[1])])
    apart = np.empty((len(left), len(with_zero)))
    for k in range(0, len(left), 64):  # a block at a time, to save memory
        apart[k : k + 64] = np.abs(left[k : k + 64, None] - with_zero).max(axis=2)
    order = apart.argmin(axis=1)
    if (apart[np.arange(len(left)), order] > CLOSE).any():
        return None
    order = np.where(apart[:, -1] <= CLOSE, ZERO, order)  # before any other place that is always zero
    own = np.arange(min(apart.shape[0], apart.shape[1] - 1))
    order[own] = np.where(apart[own, own] <= CLOSE, own, order[own])
    return order


def first_of_same(known: list[Array]) -> Array:
    """For each row, the first one that holds the same values in all arrays; ZERO if these are zero."""
    marks = _marks(known, known)
    first = [int((np.abs(marks - row).max(1) <= CLOSE).argmax()) for row in marks]
    return np.where(np.abs(marks).max(1) <= CLOSE, ZERO, first)


def _marks(rows: list[Array], scale: list[Array]) -> Array:
    """What a row is told by: its values, or projections of them, in units of the known values' size."""
    marks = []
    for some, known in zip(rows, scale, strict=True):
        size = np.sqrt((known * known).mean()) or 1.0
        if some.shape[1] > DIRECTIONS:
            directions = np.random.default_rng(3).standard_normal((some.shape[1], DIRECTIONS))
            some, size = some @ directions, size * np.sqrt(some.shape[1])
        marks.append(some / size)
    return np.hstack(marks)


# --- digits ------------------------------------------------------------------------------------


def _digits(shown: Shown) -> Iterator[Mistake]:
    orders: dict[int, Array] = {}
    for one in shown.examples:
        order = nearest([one.seen.reshape(len(one.seen), -1)], [one.right.value.reshape(len(one.seen), -1)])
        if order is None:
            return
        orders[id(one.params)] = order
    first = next(iter(orders.values()))
    if all((order == np.arange(len(order))).all() for order in orders.values()):
        return
    remedy = "Keep the batch as the first axis, in order; each digit's result belongs to its own image."
    if any((order == ZERO).any() for order in orders.values()):
        name = f"digits left at zero: {listed(np.flatnonzero(first == ZERO))}"
        text = "The rows of some digits are zero: an array was allocated and not filled."
    elif len(set(first.tolist())) == 1:
        name, text = f"digit {first[0]} for the whole batch", "Every row belongs to the same digit."
    else:
        name, text = f"digits in another order: {listed(first)}", "Rows belong to other digits of the batch."

    def put(y: Bounded, call: Call) -> Bounded:
        order = orders.get(id(call.params))
        return y if order is None else moved(y, lambda a: taken(a, order, 0))

    yield Mistake(Kind(name, text, remedy), {shown.layer.name: after(put)}, whole_batch=True)


def taken(a: Array, order: Array, axis: int) -> Array:
    """Values along an axis in another order; zeros where the order says so."""
    shape = [1] * a.ndim
    shape[axis] = len(order)
    return np.where((order == ZERO).reshape(shape), 0, a.take(np.maximum(order, 0), axis))


# --- channels and positions --------------------------------------------------------------------


def _of_axes(shown: Shown, axes: tuple[int, ...], word: str) -> Iterator[Mistake]:
    order = nearest(*([_rows(a, axes) for a in some] for some in _both(shown.examples)))
    if order is None or (order == np.arange(len(order))).all():
        return
    same = first_of_same([_rows(one.right.value, axes) for one in shown.examples])
    name, text = _said(order, word, shown.examples[0].seen.shape, same)
    kind = Kind(name, text, "Keep the order of the shared layout: N, C, H, W.")

    def put(y: Bounded, call: Call) -> Bounded:
        return moved(y, lambda a: _placed(a, order, axes))

    yield Mistake(kind, {shown.layer.name: after(put)})


def _both(examples: tuple[Example, ...]) -> tuple[list[Array], list[Array]]:
    return [one.seen for one in examples], [one.right.value for one in examples]


def _rows(a: Array, axes: tuple[int, ...]) -> Array:
    """The values at each place along the axes, a row for each place."""
    count = int(np.prod([a.shape[axis] for axis in axes]))
    return np.moveaxis(a, axes, range(len(axes))).reshape(count, -1)


def _placed(a: Array, order: Array, axes: tuple[int, ...]) -> Array:
    first = np.moveaxis(a, axes, range(len(axes)))
    return np.moveaxis(
        taken(first.reshape(len(order), -1), order, 0).reshape(first.shape), range(len(axes)), axes
    )


def _said(order: Array, word: str, shape: tuple[int, ...], same: Array) -> tuple[str, str]:
    """Name and explanation of an order; `same` holds for each place the first one with the same values."""
    kept = order == np.arange(len(order))
    zeros = order == ZERO
    if (kept | zeros).all():
        which = "all" if zeros.all() else listed(np.flatnonzero(zeros))
        return f"{word} set to zero: {which}", f"Some {word} of the output are zero, all others are right."
    if len(set(order.tolist())) == 1:
        return f"one of the {word} repeated: {order[0]}", f"All {word} of the output are the same one."
    if word == "positions" and (moves := move_of(order, shape[2:], same)):
        return moves
    if len(set(order.tolist())) < len(order):
        return f"{word} repeated: {listed(order)}", f"Some {word} of the output are those of others."
    return f"{word} in another order: {listed(order)}", f"The {word} of the output are in another order."


def move_of(order: Array, shape: tuple[int, ...], same: Array) -> tuple[str, str] | None:
    """A name for maps that are moved as a whole."""
    order = np.where(order == ZERO, ZERO, same[order])
    places = np.arange(len(order)).reshape(shape)
    turned = {
        "transposed: height and width exchanged": places.T if shape[0] == shape[1] else places,
        "flipped left to right": places[:, ::-1],
        "flipped upside down": places[::-1],
        "turned by 180 degrees": places[::-1, ::-1],
    }
    for name, other in turned.items():
        if (order == same[other.ravel()]).all():
            return f"maps {name}", "The maps of the output are turned or flipped."
    rows, columns = (range(-(size // 2), (size + 1) // 2) for size in shape)
    for down in rows:
        for right in columns:
            if (order == same[np.roll(places, (down, right), (0, 1)).ravel()]).all():
                return (
                    f"maps rolled by {down} rows and {right} columns",
                    "The maps are moved and wrapped around.",
                )
    return None


# --- the inputs of a dense layer ------------------------------------------------------------------


def _columns(shown: Shown) -> Iterator[Mistake]:
    """Columns of a dense layer's weights in another order; the rows and the bias in the right one.

    An order of 400 inputs does not follow from a few digits, so the orders that a port may make are tried.
    """
    if not isinstance(shown.layer.operator, Gemm):
        return
    name = shown.layer.name
    one = max(shown.examples, key=lambda one: float(np.abs(one.x.value).max()))
    w, target = one.params[f"{name}.weight"], one.seen - one.params[f"{name}.bias"]
    near = LINE * float(np.abs(target).max())
    for words, order in _orders(w.shape[1]):
        if np.abs(one.x.value @ w[:, order].T - target).max() <= near:
            kind = Kind(
                f"weights: columns {words}",
                "The columns of the weights belong to other inputs.",
                "Copy the weights as they are: (outputs, inputs), each column to its own place.",
            )
            yield Mistake(kind, {name: before(lambda call, order=order: replace(call, w=call.w[:, order]))})


def _orders(count: int) -> Iterator[tuple[str, Array]]:
    places = np.arange(count)
    yield from ((f"moved by {k} places", np.roll(places, k)) for k in range(1, count))
    shape = ACTIVATION_SHAPES["pool2"]
    if count != np.prod(shape):
        return
    for axes in list(permutations(range(3)))[1:]:
        word = ", ".join(AXES[axis] for axis in axes)
        there = places.reshape(shape).transpose(axes).ravel()
        yield f"in {word} order", there
        back = places.reshape([shape[axis] for axis in axes]).transpose(np.argsort(axes)).ravel()
        if (back != there).any():
            yield f"from {word} order", back
