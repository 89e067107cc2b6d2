"""How far a value is from the right one: in bounds, and in representable numbers."""

import numpy as np

from lenet.reference.forward import Bounded


def ratio(y: np.ndarray, expected: Bounded) -> np.ndarray:
    """Error over bound, elementwise; 0 where there is no error, infinite for a NaN or a broken 0."""
    error = absolute_error(y, expected.value)
    quotient = over(error, expected.error, error.max())
    return np.fmax(quotient, 0, out=quotient)


def absolute_error(y: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """|y − expected|, elementwise, in the wider of both formats."""
    difference = y - expected
    return np.abs(difference, out=difference)


def over(error: np.ndarray, bound: np.ndarray, largest: float) -> np.ndarray:
    """The quotient, in the place of `error`; NaN for 0/0, which `fmax` drops."""
    if not np.isfinite(largest):
        error[~np.isfinite(error)] = np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(error, bound, out=error)


def ulps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance between float32 or float64 arrays, counted in representable numbers (uint64)."""
    x, y = _ordinal(a).astype(np.int64), _ordinal(b).astype(np.int64)
    return np.maximum(x, y).view(np.uint64) - np.minimum(x, y).view(np.uint64)  # exact modulo 2^64


def _ordinal(x: np.ndarray) -> np.ndarray:
    """Floats as integers in the same order, neighbours one apart, both zeros 0."""
    bits = np.ascontiguousarray(x).view(f"i{x.itemsize}")
    return np.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits)
