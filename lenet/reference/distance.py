"""The distance of a value from the right value, in units of its bound.

`parity.judging.yardsticks` has the same for any network, where bounds may be unknown and an overflow may be
due. In this network neither occurs (`reference` refuses weights that overflow), and with the general
functions, which make four arrays for each of these, judging three ports takes a third longer: 1.27 s of CPU,
not 0.95 s, for 1,000 digits.
"""

import numpy as np

from parity.arithmetic import Bounded


def ratio(y: np.ndarray, expected: Bounded) -> np.ndarray:
    """Error / bound, elementwise: 0 without an error, infinite for a NaN or an error where the bound is 0."""
    error = absolute_error(y, expected.value)
    quotient = over(error, expected.bound, error.max())
    return np.fmax(quotient, 0, out=quotient)


def absolute_error(y: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """|y − expected|, elementwise, in the wider of the two formats."""
    difference = y - expected
    return np.abs(difference, out=difference)


def over(error: np.ndarray, bound: np.ndarray, largest: float) -> np.ndarray:
    """error / bound, written over `error`; NaN for 0/0, which `fmax` ignores."""
    if not np.isfinite(largest):
        error[~np.isfinite(error)] = np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(error, bound, out=error)
