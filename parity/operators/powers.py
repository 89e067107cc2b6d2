"""Powers, roots and norms of values that are not negative.

An interval that reaches below zero through rounding is cut off at zero: no sum of squares is negative.
"""

from parity.arithmetic import Number
from parity.errors import Unjudged
from parity.operators.functions import EXP, LOG_OF_SUM, NORM, fixed_power


def power_by_logarithm(x: Number, exponent: Number | float) -> Number:
    """x^exponent as exp(exponent · log x), as Eigen computes it; the error grows with the logarithm."""
    return (x.apply(LOG_OF_SUM) * exponent).apply(EXP)


def powers(x: Number, p: int) -> Number:
    """|x|^p, the terms of a p-norm.

    Raises:
        Unjudged: p is below 1, which gives no norm.
    """
    if p < 1:
        raise Unjudged(f"a norm of order {p}")
    if p == 1:
        return abs(x)
    return x * x if p == 2 else abs(x).apply(fixed_power(p))


def root(total: Number, p: int) -> Number:
    """total^(1/p)."""
    if p == 1:
        return total
    return total.apply(NORM if p == 2 else fixed_power(1 / p))
