"""Every operator that can be judged: one class each, a file for each family."""

from parity.operators import (
    activation,
    affine,
    attention,
    cast,
    create,
    elementwise,
    grid_sample,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    select,
    shape,
    softmax,
)
from parity.operators.operator import OPERATORS, Elementwise, Operator

__all__ = [
    "OPERATORS",
    "Elementwise",
    "Operator",
    "activation",
    "affine",
    "attention",
    "cast",
    "create",
    "elementwise",
    "grid_sample",
    "normalization",
    "pooling",
    "quantization",
    "recurrent",
    "reduction",
    "resize",
    "select",
    "shape",
    "softmax",
]
