"""Uses of activations."""

from typing import Any

import numpy as np

from parity.operators import OPERATORS
from tests.parity.examples.example import Example, Make

SHAPE = (3, 4, 5)


def values(*shapes: tuple[int, ...], scale: float = 3.0) -> Make:
    """Float32 inputs of these shapes, normally distributed; the first holds some zeros."""

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        arrays: list[np.ndarray | None] = [
            (rng.standard_normal(shape) * scale).astype(np.float32) for shape in shapes
        ]
        assert arrays[0] is not None
        arrays[0].flat[:3] = 0
        return arrays

    return make


def _of(kind: str, make: Make | None = None, opset: int = 24, **attributes: Any) -> Example:
    operator = OPERATORS[kind].read(attributes, opset)
    return Example(operator, attributes, make or values(SHAPE), opset)


def _limits(low: float | None, high: float | None) -> Make:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        limits = [None if limit is None else np.array(limit, np.float32) for limit in (low, high)]
        return [(rng.standard_normal(SHAPE) * 3).astype(np.float32), *limits]

    return make


def _integers(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [rng.integers(-9, 9, SHAPE).astype(np.int32)]


EXAMPLES = [
    _of("Relu"),
    _of("Relu", _integers),
    _of("LeakyRelu"),
    _of("LeakyRelu", alpha=0.3),
    _of("PRelu", values(SHAPE, (4, 1))),
    _of("ThresholdedRelu", alpha=0.7),
    _of("Elu"),
    _of("Elu", alpha=0.5),
    _of("Selu"),
    _of("Selu", alpha=2.0, gamma=3.0),
    _of("Celu"),
    _of("Celu", alpha=1.7),
    _of("HardSigmoid"),
    _of("HardSigmoid", alpha=1 / 6),
    _of("HardSwish"),
    _of("Clip", opset=10, min=-1.0, max=2.5),
    _of("Clip", opset=10, max=0.1),
    Example(OPERATORS["Clip"].read({}, 22), {}, _limits(0.0, 6.0), data=(0,)),
    Example(OPERATORS["Clip"].read({}, 22), {}, _limits(-0.3, None), data=(0,)),
    Example(OPERATORS["Clip"].read({}, 22), {}, _limits(None, 0.3), data=(0,)),
    _of("Sigmoid", values(SHAPE, scale=10)),
    _of("Tanh"),
    _of("Swish"),
    _of("Swish", alpha=1.702),
    _of("Gelu"),
    _of("Gelu", approximate="tanh"),
    _of("Mish"),
    _of("Softplus", values(SHAPE, scale=10)),
    _of("Softsign"),
    _of("Shrink"),
    _of("Shrink", bias=0.25, lambd=1.5),
    _of("com.microsoft.Gelu"),
    _of("com.microsoft.FastGelu"),
    _of("com.microsoft.FastGelu", values(SHAPE, (5,))),
    _of("com.microsoft.BiasGelu", values(SHAPE, (5,))),
    _of("com.microsoft.QuickGelu"),
    _of("com.microsoft.QuickGelu", alpha=1.0),
]
