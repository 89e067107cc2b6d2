"""Uses of pooling."""

from typing import Any

import numpy as np

from parity.operators import OPERATORS
from tests.parity.examples.example import Example, Make


def normal(*shape: int) -> Make:
    """One float32 input of this shape, normally distributed."""
    return lambda rng: [rng.standard_normal(shape).astype(np.float32)]


def _of(kind: str, shape: tuple[int, ...], *, opset: int = 22, **attributes: Any) -> Example:
    return Example(OPERATORS[kind](**attributes), attributes, normal(*shape), opset)


IMAGE = (2, 3, 7, 6)
SQUARE: dict[str, Any] = {"kernel_shape": (3, 3)}

EXAMPLES = [
    _of("MaxPool", IMAGE, kernel_shape=(2, 2), strides=(2, 2)),
    _of("MaxPool", IMAGE, kernel_shape=(3, 2), strides=(2, 1), pads=(1, 0, 2, 1)),
    _of("MaxPool", IMAGE, **SQUARE, strides=(2, 2), ceil_mode=1),
    _of("MaxPool", IMAGE, **SQUARE, strides=(2, 3), pads=(1, 1, 1, 1), ceil_mode=1, storage_order=1),
    _of("MaxPool", IMAGE, kernel_shape=(3, 2), dilations=(2, 3), pads=(2, 1, 1, 1)),
    _of("MaxPool", IMAGE, **SQUARE, strides=(2, 2), auto_pad="SAME_UPPER"),
    _of("MaxPool", IMAGE, kernel_shape=(2, 2), auto_pad="SAME_LOWER"),
    _of("MaxPool", IMAGE, kernel_shape=(3, 2), strides=(3, 2), auto_pad="VALID"),
    _of("MaxPool", (2, 3, 11), kernel_shape=(4,), strides=(3,), pads=(2, 1)),
    _of("MaxPool", (1, 2, 4, 5, 6), kernel_shape=(2, 3, 2), strides=(1, 2, 2), pads=(1, 0, 1, 0, 1, 0)),
    _of("AveragePool", IMAGE, kernel_shape=(2, 2), strides=(2, 2)),
    _of("AveragePool", IMAGE, **SQUARE, strides=(2, 1), pads=(1, 0, 2, 1)),
    _of("AveragePool", IMAGE, **SQUARE, strides=(2, 1), pads=(1, 0, 2, 1), count_include_pad=1),
    _of("AveragePool", IMAGE, **SQUARE, strides=(2, 2), ceil_mode=1),
    _of("AveragePool", IMAGE, **SQUARE, strides=(3, 3), pads=(1, 1, 1, 1), ceil_mode=1),
    _of("AveragePool", IMAGE, **SQUARE, strides=(3, 3), pads=(1, 1, 1, 1), ceil_mode=1, count_include_pad=1),
    _of("AveragePool", IMAGE, kernel_shape=(3, 2), dilations=(2, 3), pads=(2, 1, 1, 1)),
    _of("AveragePool", IMAGE, kernel_shape=(3, 2), dilations=(2, 3), pads=(2, 1, 1, 1), count_include_pad=1),
    _of("AveragePool", IMAGE, **SQUARE, strides=(2, 2), auto_pad="SAME_UPPER"),
    _of("AveragePool", IMAGE, kernel_shape=(2, 2), auto_pad="SAME_LOWER", count_include_pad=1),
    _of("AveragePool", IMAGE, kernel_shape=(3, 2), strides=(3, 2), auto_pad="VALID"),
    _of("AveragePool", (2, 3, 11), kernel_shape=(4,), strides=(3,), pads=(2, 1)),
    _of("AveragePool", (1, 2, 4, 5, 6), kernel_shape=(2, 3, 2), strides=(1, 2, 2), pads=(1, 0, 1, 0, 1, 0)),
    _of("LpPool", IMAGE, kernel_shape=(3, 2), strides=(2, 1), pads=(1, 0, 2, 1)),
    _of("LpPool", IMAGE, kernel_shape=(2, 2), p=1, auto_pad="SAME_UPPER"),
    _of("LpPool", IMAGE, kernel_shape=(2, 3), p=3, strides=(2, 2)),
    _of("LpPool", (2, 3, 11), kernel_shape=(4,), strides=(3,), ceil_mode=1),
    _of("GlobalMaxPool", IMAGE),
    _of("GlobalMaxPool", (2, 3, 11)),
    _of("GlobalAveragePool", IMAGE),
    _of("GlobalAveragePool", (1, 2, 4, 5, 6)),
    _of("GlobalLpPool", IMAGE, opset=21),
    _of("GlobalLpPool", IMAGE, p=1, opset=21),
    _of("GlobalLpPool", (2, 3, 11), p=3, opset=21),
]
