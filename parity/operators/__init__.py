"""Every operator that can be judged: one class each, a file for each family."""

from parity.operators import affine, normalization, pooling
from parity.operators.operator import OPERATORS, Elementwise, Operator

__all__ = ["OPERATORS", "Elementwise", "Operator", "affine", "normalization", "pooling"]
