"""Finds the layer in which a model raised an exception."""

import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from math import prod
from typing import Any

from lenet.network.architecture import IMAGE_SHAPE, LAYERS, Network
from parity.operators import Operator
from parity.operators.affine import Conv
from parity.operators.pooling import MaxPool


def layer(error: BaseException) -> str:
    """The layer of a PyTorch model in which it was raised, in a line; empty where that cannot be known.

    An `nn.Sequential` runs its layers in a loop, so no line of the user's file says which one it was. The
    exception's frames hold the modules that were running: the first is the model, the last its layer.
    """
    with suppress(Exception):  # the modules are the user's, and may do anything when they are asked
        frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
        running = [(held["self"], held) for held in frames if hasattr(held.get("self"), "named_modules")]
        model, (last, held) = running[0][0], running[-1]
        if not list(last.children()):  # in a model's own forward pass the line of the file says it all
            names = [
                f"the layer {name}: " for name, module in model.named_modules() if name and module is last
            ]
            given = _given(held)
            where = f"Raised in {''.join(names[:1])}{str(last).splitlines()[0]}"
            return f"{where}, given {given}{_why(given)}" if given else where
    return ""


def _given(held: dict[str, Any]) -> tuple[int, ...]:
    """The shape of what a layer was given; () if it is not known."""
    shapes = [
        tuple(value.shape) for name, value in held.items() if name != "self" and hasattr(value, "shape")
    ]
    return shapes[0] if shapes else ()


def _why(given: tuple[int, ...]) -> str:
    """The mistake in a layer before that gives features of this shape (N, width); "" if none is known."""
    if len(given) != 2:
        return ""
    causes = [cause for cause, width in _widths() if width == given[1]]
    return f": {given[1]} features come of {' or '.join(causes)}" if causes else ""


def _widths() -> Iterator[tuple[str, int]]:
    """Other paddings and strides of a layer, each with the number of features that come of it."""
    end = [layer.name for layer in LAYERS].index("flatten") + 1
    for k, layer in enumerate(LAYERS[:end]):
        others: list[tuple[str, Operator]] = []
        if isinstance(layer.operator, Conv):
            others = [
                (f"{layer.name} with padding {p} in place of {layer.padding}", Conv(pads=(p,) * 4))
                for p in range(4)
                if p != layer.padding
            ]
        elif isinstance(layer.operator, MaxPool):
            one = replace(layer.operator, strides=(1, 1))
            others = [
                (f"{layer.name} with stride 1 in place of 2", one),
                (f"no {layer.name}", replace(one, kernel_shape=(1, 1))),
            ]
        for cause, operator in others:
            layers = (*LAYERS[:k], replace(layer, operator=operator), *LAYERS[k + 1 : end])
            yield cause, prod(Network(layers, IMAGE_SHAPE).shapes["flatten"])
