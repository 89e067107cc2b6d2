"""Every operator that can be judged: one class each, a file for each family."""

from parity.operators import affine, cast, create, quantization, reduction, select, shape
from parity.operators.operator import OPERATORS, Elementwise, Operator

__all__ = [
    "OPERATORS",
    "Elementwise",
    "Operator",
    "affine",
    "cast",
    "create",
    "quantization",
    "reduction",
    "select",
    "shape",
]
