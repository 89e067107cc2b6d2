"""The inputs of a dense layer in another order: moved by some places, or maps read otherwise.

An order of 400 inputs does not follow from a few digits, so the orders that a port may make are tried: all
of one layer's are quick to compare with the values.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np

from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.second_look.shown import LINE, Shown
from lenet.diagnose.mistakes.wrong_forward import before
from lenet.network.architecture import ACTIVATION_SHAPES
from parity.arithmetic import Array
from parity.operators.affine import Gemm

AXES = "CHW"  # of the maps that are flattened


def mistakes(shown: Shown) -> Iterator[Mistake]:
    """Columns of a dense layer's weights in another order; the rows and the bias in the right one."""
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
