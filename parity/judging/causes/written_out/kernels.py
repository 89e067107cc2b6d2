"""Mistakes in writing out the sum over a kernel: turned, partly left out, read in another layout."""

from collections.abc import Callable, Iterator

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Changed, Mistake, Seen, made_in, second, with_input
from parity.operators import Operator
from parity.operators.affine import Conv

LAYOUT = "Convert OIHW to HWIO with transpose(2, 3, 1, 0), and back with transpose(3, 2, 0, 1)."


def weights(operator: Operator, change: Callable[[Array], Array]) -> Changed:
    """The operator, the values of whose weights are moved, dropped or repeated."""
    return with_input(operator, 1, lambda w: w.move(change))


@made_in("Conv")
def turned(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    w = second(seen.inputs)
    if w.ndim != 4 or w.shape[2] != w.shape[3] or w.shape[2] == 1:
        return
    for turns in (1, 3):
        yield Mistake(
            f"kernel turned by {90 * turns} degrees",
            f"The kernel is turned by {90 * turns} degrees: a transpose and a flip along one axis.",
            LAYOUT,
            weights(conv, lambda a, turns=turns: np.rot90(a, turns, (2, 3))),  # type: ignore[misc]
            "hyseob/PyMDNet#3",
        )


LEFT_OUT = {
    "last row": (slice(-1), slice(None)),
    "last column": (slice(None), slice(-1)),
    "last row and column": (slice(-1), slice(-1)),
    "first row": (slice(1, None), slice(None)),
    "first column": (slice(None), slice(1, None)),
    "first row and column": (slice(1, None), slice(1, None)),
}


@made_in("Conv")
def left_out(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    w = second(seen.inputs)
    if w.ndim != 4 or min(w.shape[2:]) == 1:
        return
    for name, (rows, columns) in LEFT_OUT.items():

        def kept(a: Array, rows: slice = rows, columns: slice = columns) -> Array:
            part = np.zeros_like(a)
            part[:, :, rows, columns] = a[:, :, rows, columns]
            return part

        yield Mistake(
            f"{name} of the kernel left out",
            f"The loop over the kernel skips its {name}.",
            "Loop over the whole kernel: range(kernel).",
            weights(conv, kept),
            "LazaroHurtado/micrograd-rs#31",
        )


@made_in("Conv")
def other_layouts(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    """The layouts with the input axis before the output axis."""
    w = second(seen.inputs)
    if w.ndim != 4:
        return
    explanation = (
        "The numbers are in another order than the shape says: `reshape` was used where the axes had to be "
        "moved."
    )
    for name, order in (("IHWO", (1, 2, 3, 0)), ("IOHW", (1, 0, 2, 3))):
        there = tuple(w.shape[k] for k in order)

        def back(a: Array, order: tuple[int, ...] = order, there: tuple[int, ...] = there) -> Array:
            return a.reshape(there).transpose(np.argsort(order))

        yield Mistake(f"weights reshaped to {name}, not transposed", explanation, LAYOUT, weights(conv, back))
        yield Mistake(
            f"weights reshaped from {name}, not transposed",
            explanation,
            LAYOUT,
            weights(conv, lambda a, order=order: a.transpose(order).reshape(a.shape)),  # type: ignore[misc]
        )
