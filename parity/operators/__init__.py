"""Every operator that can be judged: one class each, a file for each family."""

from parity.operators import (
    activation,
    affine,
    cast,
    create,
    elementwise,
    pooling,
    quantization,
    reduction,
    select,
    shape,
)
from parity.operators.operator import OPERATORS, Elementwise, Operator

__all__ = [
    "OPERATORS",
    "Elementwise",
    "Operator",
    "activation",
    "affine",
    "cast",
    "create",
    "elementwise",
    "pooling",
    "quantization",
    "reduction",
    "select",
    "shape",
]
