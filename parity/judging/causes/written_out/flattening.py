"""Mistakes in flattening maps."""

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Mistake, Seen, first, made_in, with_input
from parity.operators.shape import Flatten

KNOWN = ((1, 2, 0), (2, 1, 0))  # H, W, C and Fortran's order are in `of_pooling`


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
        if order not in KNOWN:

            def flat(a: Array, there: tuple[int, ...] = there) -> Array:
                return a.transpose(0, *there).reshape(a.shape)

            yield Mistake(
                f"flattened in {label} order",
                f"The maps are flattened in {label} order, but the weights behind expect C, H, W.",
                "Transpose to C, H, W before flattening, or permute the rows of the dense layer's weights.",
                with_input(flatten, 0, lambda one, flat=flat: one.move(flat)),  # type: ignore[misc]
                "gzuidhof/nn-transfer#16",
            )

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
