"""Mistakes in flattening maps."""

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Mistake, Seen, first, made_in, with_input
from parity.operators.shape import Flatten


@made_in("Flatten")
def orders(flatten: Flatten, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    if x.ndim != 4 or flatten.axis != 1:
        return
    for order in permutations(range(3)):
        label = ", ".join("CHW"[axis] for axis in order)
        there = tuple(axis + 1 for axis in order)
        if order == (0, 1, 2):
            continue
        if order == (0, 2, 1) and x.shape[2] == x.shape[3]:
            continue  # for square maps this is flattening in that order

        def reread(a: Array, order: tuple[int, ...] = order, there: tuple[int, ...] = there) -> Array:
            shape = [a.shape[axis] for axis in there]
            return a.reshape(len(a), *shape).transpose(0, *(np.argsort(order) + 1)).reshape(a.shape)

        yield Mistake(
            f"maps read as {label} before flattening",
            f"The C, H, W maps are reshaped as if they were {label}, then permuted before flattening.",
            "Flatten C, H, W maps as they are.",
            with_input(flatten, 0, lambda one, reread=reread: one.move(reread)),  # type: ignore[misc]
            "gzuidhof/nn-transfer#17",
        )
    yield Mistake(
        "flattened over the batch axis",
        "The batch axis is mixed into the features: a row holds values of several items.",
        "Use reshape(N, -1) on an array whose first axis is the batch.",
        with_input(flatten, 0, lambda one: one.move(lambda a: a.transpose(1, 2, 3, 0).reshape(a.shape))),
        "Selen-Suyue/DensePolicy2D#3",
    )
