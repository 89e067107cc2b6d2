"""Powers, roots and norms of values that are not negative, with the accuracy of their implementations.

An interval that rounding carries below zero ends at zero: no sum of squares is negative.
"""

import numpy as np

from parity.arithmetic import Function, Number
from parity.errors import Unjudged

ROUNDED = 1 - 2.0**-7  # a lower limit that is rounded to any format is above this part of it
SQRT = Function(
    "sqrt",
    lambda x: np.sqrt(np.maximum(x, 0)),
    ulps=1,
    monotone=True,
    source="IEEE 754 asks for 0.5; pow(x, 0.5) is within 1",
)


def inverse_root(least: float = 0.0) -> Function:
    """1/sqrt(x), where x is known to be no less than `least`, up to rounding."""
    return Function(
        "1/sqrt",
        lambda x: 1 / np.sqrt(np.maximum(x, least * ROUNDED)),
        ulps=2,
        monotone=True,
        source="rsqrtf: 2 in the CUDA programming guide; a rounded root and a rounded division: below 1.5",
    )


def reciprocal(least: float = 0.0) -> Function:
    """1/x, where x is known to be no less than `least`, up to rounding."""
    return Function(
        "1/x",
        lambda x: 1 / np.maximum(x, least * ROUNDED),
        ulps=1,
        monotone=True,
        source="IEEE 754 asks for 0.5; reciprocals that are refined by one Newton step are within 1",
    )


def inverse_norm(p: int) -> Function:
    """1 / total^(1/p) for the sum of powers of a p-norm; 0 for 0."""
    return Function(
        f"1/total^(1/{p})",
        lambda total: np.where(total == 0, 0.0, 1 / np.maximum(total, 0) ** (1 / p)),
        ulps={1: 1, 2: 2}.get(p, 5),
        monotone=True,
        source="as x^(1/p), and one rounding more",
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


LOG = Function(
    "log",
    lambda x: np.log(np.maximum(x, 0)),
    ulps=1,
    monotone=True,
    source="logf: 1 in the CUDA programming guide; Eigen's and the C libraries' are about 1",
)
EXP = Function(
    "exp",
    np.exp,
    ulps=4,
    monotone=True,
    source="expf: 2 in the CUDA programming guide; 4 so that powf, which has 4 there, is covered too",
)


def power_by_logarithm(x: Number, exponent: Number | float) -> Number:
    """x^exponent as exp(exponent · log x), whose error grows with the logarithm; Eigen computes it so."""
    return (x.apply(LOG) * exponent).apply(EXP)


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
