"""The order of channels, as values show it: of a convolution's input, of a normalization's parameters."""

from collections.abc import Iterator
from math import prod

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, given, made_in, second, with_input
from parity.judging.causes.of_places.of_layout import in_words, ranked
from parity.judging.causes.of_products.of_channels import FEW, orders
from parity.operators.affine import Conv
from parity.operators.normalization import BatchNormalization

MOST = 600  # products of a sum whose weights are read off: a system of as many equations is solved
MORE = 1.5  # positions for each of them


@made_in("Conv")
def inputs(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    order = _order(conv, seen)
    if order is None or any((order == one).all() for _, one in orders(order.size)):
        return
    if (order == np.arange(order.size)).all():
        return
    yield Mistake(
        f"input channels {in_words(order)}",
        "The channels of the input are in another order than the weights expect.",
        "Put them in the order of the reference: that of a concatenation or of a shuffle, say.",
        with_input(conv, 0, lambda x: x.move(lambda a: a[:, order])),
        wider=True,
    )


def _order(conv: Conv, seen: Seen) -> Array | None:
    """The channel of the input for each channel of the weights; None if the values do not show it."""
    x, w = first(seen.inputs), second(seen.inputs)
    products = prod(w.shape[1:])
    if seen.found is None or conv.group > 1 or not FEW < x.shape[1] <= products <= MOST:
        return None
    sliding = conv.window(x, w)
    positions = (x.shape[0], *sliding.out_shape(x.shape[2:]))
    if seen.found.shape != (positions[0], w.shape[0], *positions[1:]) or prod(positions) < MORE * products:
        return None
    chosen = np.linspace(0, prod(positions) - 1, int(MORE * products)).astype(int)
    item, *place = np.unravel_index(chosen, positions)
    taps, inside = sliding.taps(tuple(place), x.shape[2:])
    apart = (1,) * len(taps)
    lanes = np.arange(x.shape[1]).reshape(1, -1, *apart)
    windows = x.comparable[(item.reshape(-1, 1, *apart), lanes, *(tap[:, None] for tap in taps))]
    known = np.where(inside[:, None], windows, 0).reshape(len(chosen), -1).astype(np.float64)
    b = given(seen.inputs, 2)
    sums = np.moveaxis(seen.found, 1, -1)[(item, *place)] - (0.0 if b is None else b.comparable.astype(float))
    square = known.T @ known
    square[np.diag_indices(products)] += (
        1e-9 * np.trace(square) / products
    )  # a channel of zeros has no weights
    read = np.linalg.solve(square, known.T @ sums)
    return _matched(read.T.reshape(w.shape), w.comparable.astype(np.float64))


def _matched(read: Array, w: Array) -> Array | None:
    """For each input channel of the weights, the one of those read off that is most like it."""
    a, b = (np.moveaxis(one, 1, 0).reshape(one.shape[1], -1) for one in (w, read))
    apart = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    order = apart.argmin(1)
    return order if np.unique(order).size == order.size else None


PARAMETERS = {1: "scale", 2: "shift", 3: "running mean", 4: "running variance"}


@made_in("BatchNormalization")
def parameters(norm: BatchNormalization, seen: Seen) -> Iterator[Mistake]:
    for order, places in _parameters(norm, seen):
        names = [PARAMETERS[k] for k in places]
        if (order != np.arange(order.size)).any():
            yield Mistake(
                f"{', '.join(names[:-1])} and {names[-1]} {in_words(order)}"
                if names[1:]
                else f"{names[0]} {in_words(order)}",
                "Parameters of each channel are in another order than the channels.",
                "Keep the order of the reference's parameters.",
                Changed(norm, lambda inputs, order=order, places=places: _taken(inputs, order, places)),  # type: ignore[misc]
                wider=True,
            )


def _taken(inputs: list[Number | None], order: Array, places: tuple[int, ...]) -> list[Number | None]:
    return [
        one.move(lambda a: a[order]) if one is not None and k in places else one
        for k, one in enumerate(inputs)
    ]


def _parameters(norm: BatchNormalization, seen: Seen) -> Iterator[tuple[Array, tuple[int, ...]]]:
    """Orders of the parameters at some places, by slope and height of the line of each channel."""
    x, found = first(seen.inputs).comparable.astype(np.float64), seen.found
    if found is None or found.shape != x.shape or norm.training_mode or x.shape[1] < 2:
        return
    scale, shift, mean, variance = (
        one.comparable.astype(float) for one in seen.inputs[1:5] if one is not None
    )
    rows, values = (np.moveaxis(a, 1, 0).reshape(x.shape[1], -1) for a in (x, found.astype(np.float64)))
    middle, height = rows.mean(1), values.mean(1)
    apart = rows - middle[:, None]
    slope = (apart * values).sum(1) / (apart**2).sum(1)
    deviation = np.sqrt(variance + norm.epsilon)
    of_mean, of_variance = (
        ranked(middle - (height - shift) / slope, mean),
        ranked((scale / slope) ** 2, variance),
    )
    of_scale, of_shift = (
        ranked(slope * deviation, scale),
        ranked(height - slope * (middle - mean), shift),
    )
    yield ranked(slope, scale / deviation), (1, 2, 3, 4)
    yield from _of_two((of_mean, of_variance), (3, 4))
    yield from _of_two((of_scale, of_shift), (1, 2))


def _of_two(orders: tuple[Array, Array], places: tuple[int, int]) -> Iterator[tuple[Array, tuple[int, ...]]]:
    """An order that two parameters share, or that of one where the other has its own."""
    right = np.arange(orders[0].size)
    if (orders[0] == orders[1]).all():
        yield orders[0], places
    for k in range(2):
        if (orders[1 - k] == right).all():
            yield orders[k], (places[k],)
