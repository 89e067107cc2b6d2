"""Mistakes of a convolution's weights: turned, in another layout."""

from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Changed, Mistake, Seen, made_in, second, with_input
from parity.operators import Operator
from parity.operators.affine import Conv, ConvTranspose

LAYOUT = "Convert OIHW to HWIO with transpose(2, 3, 1, 0), and back with transpose(3, 2, 0, 1)."


def _weights(operator: Operator, change: Callable[[Array], Array]) -> Changed:
    return with_input(operator, 1, lambda w: w.move(change))


@made_in("Conv", "ConvTranspose")
def kernels(conv: Conv | ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    w = second(seen.inputs)
    axes = tuple(range(2, w.ndim))
    if all(n == 1 for n in w.shape[2:]):
        return
    yield Mistake(
        "kernel flipped",
        "The kernel is turned by 180 degrees: a true convolution, as in SciPy and Theano, where frameworks "
        "compute a correlation.",
        "Turn the kernel back: w[..., ::-1, ::-1].",
        _weights(conv, lambda a: np.flip(a, axes)),
        "keras-team/keras#3015",
    )
    for axis in axes if len(axes) > 1 else ():
        yield Mistake(
            f"kernel flipped along axis {axis}",
            "The kernel is reversed along one of its axes.",
            "Remove the flip.",
            _weights(conv, lambda a, axis=axis: np.flip(a, axis)),  # type: ignore[misc]
        )
    for order in permutations(axes):
        if order != axes and tuple(w.shape[k] for k in order) == w.shape[2:]:
            yield Mistake(
                "kernel height and width swapped" if len(axes) == 2 else f"kernel's axes permuted: {order}",
                "The kernel's spatial axes are exchanged, as `w.T` does, which reverses all axes.",
                LAYOUT,
                _weights(conv, lambda a, order=order: a.transpose(0, 1, *order)),  # type: ignore[misc]
                "hyseob/PyMDNet#3",
            )


@made_in("Conv", "ConvTranspose")
def layouts(conv: Conv | ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    """Weights in the memory of one layout that are read as if in another."""
    w = second(seen.inputs)
    if w.ndim == 4:
        for name, order in (("HWIO", (2, 3, 1, 0)), ("OHWI", (0, 2, 3, 1)), ("HWOI", (2, 3, 0, 1))):
            there = tuple(w.shape[k] for k in order)

            def back(a: Array, order: tuple[int, ...] = order, there: tuple[int, ...] = there) -> Array:
                return a.reshape(there).transpose(np.argsort(order))

            yield Mistake(
                f"weights reshaped to {name}, not transposed",
                "The numbers are in another order than the shape says: `reshape` was used where the axes had "
                "to be moved.",
                LAYOUT,
                _weights(conv, back),
            )
            yield Mistake(
                f"weights reshaped from {name}, not transposed",
                "The numbers are in another order than the shape says: `reshape` was used where the axes had "
                "to be moved.",
                LAYOUT,
                _weights(conv, lambda a, order=order: a.transpose(order).reshape(a.shape)),  # type: ignore[misc]
            )
    if w.shape[0] == w.shape[1]:
        yield Mistake(
            "weights transposed: input and output channels exchanged",
            "The first two axes of the weights are swapped.",
            LAYOUT,
            _weights(conv, lambda a: a.swapaxes(0, 1)),
        )
