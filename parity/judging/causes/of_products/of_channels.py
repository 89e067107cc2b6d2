"""Mistakes of the order of channels: of the input, of the filters, of groups."""

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, given, made_in, second, with_input
from parity.operators.affine import Conv, ConvTranspose, Gemm, MatMul

FEW = 4  # channels of which all orders are tried
BGR = "input channels in reverse order (BGR for RGB)"


def orders(size: int) -> Iterator[tuple[str, Array]]:
    """Orders in which frameworks, layouts and shuffles differ: reversed, or two factors exchanged."""
    numbers = np.arange(size)
    if size > 1:
        yield "in reverse order", numbers[::-1]
    for rows in range(2, size):
        if size % rows == 0:
            yield (
                f"interleaved: {rows} × {size // rows} exchanged with {size // rows} × {rows}",
                numbers.reshape(rows, -1).T.ravel(),
            )


@made_in("Conv", "ConvTranspose")
def inputs(conv: Conv | ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    size = x.shape[1]
    known = {tuple(range(size))}
    for words, order in orders(size):
        name = BGR if words == "in reverse order" else f"input channels {words}"
        known.add(tuple(order))
        yield Mistake(
            name,
            "The channels of the input are in another order: reversed, as OpenCV's images are, or with those "
            "of the groups interleaved.",
            "Put them in the order of the reference: x[:, ::-1] reverses them.",
            with_input(conv, 0, lambda a, order=order: a.move(lambda m: m[:, order])),  # type: ignore[misc]
        )
    for some in permutations(range(size)) if 1 < size <= FEW else ():
        if some not in known:
            yield Mistake(
                f"input channels in the order {some}",
                "The channels of the input are in another order.",
                "Put them in the order of the reference.",
                with_input(conv, 0, lambda a, some=some: a.move(lambda m: m[:, list(some)])),  # type: ignore[misc]
            )


@made_in("Conv", "ConvTranspose")
def groups(conv: Conv | ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    if conv.group == 1:
        return
    size = x.shape[1] // conv.group
    yield Mistake(
        "all groups read the first group's channels",
        "Every filter is applied to the channels of the first group: the input was not split.",
        "Split the input into the groups, and pass `groups` on.",
        with_input(conv, 0, lambda a: a.move(lambda m: m[:, np.arange(m.shape[1]) % size])),
    )


@made_in("Conv", "ConvTranspose")
def outputs(conv: Conv | ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    w = second(seen.inputs)
    size = w.shape[0] if isinstance(conv, Conv) else w.shape[1] * conv.group
    yield Mistake(
        "output channels in reverse order",
        "The filters are in the opposite order.",
        "Keep the order of the reference's filters.",
        Changed(conv, after=lambda y, inputs: y.move(lambda m: m[:, ::-1])),
    )
    if isinstance(conv, ConvTranspose):
        return
    for words, order in orders(size):
        grouped = conv.group > 1 and words != "in reverse order"
        yield Mistake(
            f"output channels of the groups in another order: filters {words}"
            if grouped
            else f"filters {words}",
            "The filters are in another order than the biases and the next layer expect. Those of a group "
            "(the channel multipliers of a depthwise convolution) are counted before the groups, or after.",
            "Reshape the filters to (groups, filters of a group), and transpose.",
            with_input(conv, 1, lambda a, order=order: a.move(lambda m: m[order])),  # type: ignore[misc]
        )
        if grouped and given(seen.inputs, 2) is not None:
            yield Mistake(
                f"output channels of the groups in another order, before the bias: {words}",
                "The results of the groups are joined in another order (the multipliers of a depthwise "
                "convolution before the groups, or after), and the bias is added in that of the reference.",
                "Reshape the result to (groups, filters of a group, ...), and transpose.",
                _before_the_bias(conv, order),
            )


def _before_the_bias(conv: Conv, order: Array) -> Changed:
    """The results in another order, and the bias not."""
    back = with_input(conv, 2, lambda b: b.move(lambda a: a[np.argsort(order)]))
    return Changed(back, after=lambda y, inputs: y.move(lambda a: a[:, order]))


@made_in("Gemm", "MatMul")
def features(operator: Gemm | MatMul, seen: Seen) -> Iterator[Mistake]:
    """The order of what a dense layer reads, and of what it returns."""
    b = second(seen.inputs)
    if b.ndim != 2:
        return
    rows, columns = (1, 0) if getattr(operator, "transB", 0) else (0, 1)
    for what, axis in (("features", rows), ("outputs", columns)):
        for words, order in orders(b.shape[axis]):
            yield Mistake(
                f"{what} of the weights {words}",
                "The rows or columns of the matrix are in another order: as behind a flattening in the order "
                "of another layout, say.",
                "Permute the weights with the layout.",
                with_input(operator, 1, _taken(order, axis)),
            )


def _taken(order: Array, axis: int) -> Any:
    return lambda m: m.move(lambda a: a.take(order, axis))
