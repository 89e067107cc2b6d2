"""Uses of normalization."""

from typing import Any

import numpy as np

from parity.operators import OPERATORS
from tests.parity.examples.example import Example, Make

Shape = tuple[int, ...]
IMAGE = (2, 6, 5, 4)
ROWS = (2, 3, 5, 8)


def normal(*shapes: Shape, mean: float = 0.0) -> Make:
    """Float32 inputs of these shapes, normally distributed; the first about this mean."""

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        first, *rest = (rng.standard_normal(shape) for shape in shapes)
        return [array.astype(np.float32) for array in (first + mean, *rest)]

    return make


def _of(kind: str, *shapes: Shape, opset: int = 22, mean: float = 0.0, **attributes: Any) -> Example:
    return Example(OPERATORS[kind](**attributes), attributes, normal(*shapes, mean=mean), opset)


def _batch(
    shape: Shape, parameters: Shape, *, opset: int = 15, mean: float = 0.0, **attributes: Any
) -> Example:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        x, scale, bias, center = (rng.standard_normal(one) for one in (shape, *(parameters,) * 3))
        arrays = (x + mean, scale, bias, center + mean, rng.uniform(0.2, 3, parameters))
        return [array.astype(np.float32) for array in arrays]

    operator = OPERATORS["BatchNormalization"](**attributes)
    return Example(operator, attributes, make, opset, data=(0, 1, 2, 3))  # a variance is not negative


EXAMPLES = [
    _batch(IMAGE, (6,)),
    _batch(IMAGE, (6,), epsilon=0.01, mean=100),
    _batch(IMAGE, (6,), opset=7),
    _batch(IMAGE, (6, 5, 4), opset=7, spatial=0),
    _batch(IMAGE, (6,), opset=9, momentum=0.5),
    _batch((5, 7), (7,)),
    _batch(IMAGE, (6,), training_mode=1),
    _batch((3, 2, 7), (2,), opset=14, training_mode=1, momentum=0.75, epsilon=0.5),
    _of("InstanceNormalization", IMAGE, (6,), (6,)),
    _of("InstanceNormalization", (3, 2, 9), (2,), (2,), epsilon=0.25, mean=100),
    _of("GroupNormalization", IMAGE, (6,), (6,), num_groups=3),
    _of("GroupNormalization", IMAGE, (3,), (3,), num_groups=3, opset=18, epsilon=0.25),
    _of("LayerNormalization", ROWS, (8,), (8,)),
    _of("LayerNormalization", ROWS, (8,), axis=3, epsilon=0.25, mean=100),
    _of("LayerNormalization", ROWS, (5, 8), (5, 8), axis=2),
    _of("LayerNormalization", (3, 4), (3, 4), (4,), axis=0),
    _of("RMSNormalization", ROWS, (8,), opset=23),
    _of("RMSNormalization", ROWS, (5, 8), axis=-2, epsilon=0.25, opset=23),
    _of("LpNormalization", IMAGE),
    _of("LpNormalization", IMAGE, axis=1, p=1),
    _of("MeanVarianceNormalization", IMAGE),
    _of("MeanVarianceNormalization", IMAGE, axes=(0, 1, 2, 3), mean=100),
    _of("MeanVarianceNormalization", IMAGE, axes=(2, 3)),
    _of("LRN", (2, 7, 4, 3), size=3),
    _of("LRN", (2, 7, 4, 3), size=5, alpha=0.3, beta=0.6, bias=2.1),
    _of("LRN", (2, 3, 4, 5), size=7, alpha=1.0, bias=0.5),
]
