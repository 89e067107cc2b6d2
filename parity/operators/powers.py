"""Powers, roots and norms of values that are not negative, with the accuracy of their implementations.

An interval that rounding carries below zero ends at zero: no sum of squares is negative.
"""

import numpy as np

from parity.arithmetic import Function, Number
from parity.errors import Unjudged

SQRT = Function(
    "sqrt",
    lambda x: np.sqrt(np.maximum(x, 0)),
    ulps=1,
    monotone=True,
    source="IEEE 754 asks for 0.5; pow(x, 0.5) is within 1",
)
RSQRT = Function(
    "1/sqrt",
    lambda x: 1 / np.sqrt(np.maximum(x, 0)),
    ulps=2,
    monotone=True,
    source="rsqrtf: 2 in the CUDA programming guide; a square root and a division, both rounded: below 1.5",
)
RECIPROCAL = Function(
    "1/x, and 0 for 0",
    lambda x: np.where(x == 0, 0.0, 1 / np.maximum(x, 0)),
    ulps=1,
    monotone=True,
    source="IEEE 754 asks for 0.5; reciprocals that are refined by one Newton step are within 1",
)


def power(exponent: float) -> Function:
    """x^exponent."""
    return Function(
        f"x^{exponent:g}",
        lambda x: np.maximum(x, 0) ** exponent,
        ulps=4,
        monotone=True,
        source="powf: 4 in the CUDA programming guide, about 1 in the C libraries of processors",
    )


def powers(x: Number, p: int) -> Number:
    """|x|^p, the terms of a p-norm.

    Raises:
        Unjudged: p is below 1, so that this makes no norm.
    """
    if p < 1:
        raise Unjudged(f"a norm of order {p}")
    if p == 1:
        return abs(x)
    return x * x if p == 2 else abs(x).apply(power(p))


def root(total: Number, p: int) -> Number:
    """total^(1/p)."""
    if p == 1:
        return total
    return total.apply(SQRT if p == 2 else power(1 / p))
