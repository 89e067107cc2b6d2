"""Mistakes of what an image goes through before the first layer: scale, mean, order of the channels."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from parity.arithmetic import Number
from parity.judging.causes.mistake import Mistake, Seen, first, made_in, with_input
from parity.judging.causes.of_products.of_channels import BGR

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1], in RGB
CAFFE = (103.939, 116.779, 123.68)  # of ImageNet, in [0, 255], in BGR
SAID = "The input goes through another scale than the reference's before the first layer."
REMEDY = "Prepare the input as the reference does."

Change = Callable[[Number], Number]


def _channels(x: Number, values: tuple[float, ...]) -> Number:
    shape = (1, len(values), *(1,) * (x.ndim - 2))
    return x.like(np.asarray(values, np.float32).astype(np.float64).reshape(shape))


SCALES: dict[str, Change] = {
    "divided by 255": lambda x: x / 255.0,
    "multiplied by 255": lambda x: x * 255.0,
    "moved from [0, 1] to [-1, 1]": lambda x: x * 2.0 - 1.0,
    "moved from [-1, 1] to [0, 1]": lambda x: (x + 1.0) / 2.0,
    "moved from [0, 255] to [-1, 1]": lambda x: x / 127.5 - 1.0,
}
OF_COLOURS: dict[str, Change] = {
    "normalized with ImageNet's mean and deviation": lambda x: (
        (x - _channels(x, MEAN)) / _channels(x, DEVIATION)
    ),
    "normalized with ImageNet's mean and deviation again taken back": lambda x: (
        x * _channels(x, DEVIATION) + _channels(x, MEAN)
    ),
    "divided by 255, and normalized with ImageNet's mean and deviation": lambda x: (
        (x / 255.0 - _channels(x, MEAN)) / _channels(x, DEVIATION)
    ),
    "reduced by Caffe's mean": lambda x: x - _channels(x, CAFFE),
}


@made_in("Conv", "Gemm", "MatMul")
def scales(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """Only where nothing was computed before: an input of the stretch."""
    x = first(seen.inputs)
    if getattr(x, "error", None) is not None:
        return
    colours = x.ndim == 4 and x.shape[1] == 3
    for name, change in {**SCALES, **(OF_COLOURS if colours else {})}.items():
        yield Mistake(f"input {name}", SAID, REMEDY, with_input(operator, 0, change))


@made_in("Sub", "Add", "Mul", "Div")
def colours(operator: Any, seen: Seen) -> Iterator[Mistake]:
    x = seen.inputs[0]
    if x is not None and x.ndim == 4 and x.shape[1] == 3:
        yield Mistake(
            BGR,
            "The channels of the image are reversed before its mean and scale are taken off.",
            "Reverse them: x[:, ::-1].",
            with_input(operator, 0, lambda a: a.move(lambda m: m[:, ::-1])),
        )
