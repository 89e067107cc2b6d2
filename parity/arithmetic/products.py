"""Matrix products of values, of their magnitudes, and of integers."""

import numpy as np

from parity.arithmetic.intervals import wide
from parity.arithmetic.number import Array

LARGEST = 2**22  # values of the second factor that are widened to float64 at once


def products_of(
    a: Array, b: Array, positive_a: bool | None = None, positive_b: bool | None = None
) -> tuple[Array, Array]:
    """a·b and |a|·|b| in float64, for floats of any format.

    Args:
        a, b: the factors, (..., m, n) and (..., n, p).
        positive_a, positive_b: whether no value of it is negative; None where nobody has looked.
    """
    a = wide(a)
    if b.ndim != 2 or b.size <= LARGEST:
        return _both(a, wide(b), positive_a, positive_b)
    width = max(1, LARGEST // b.shape[0])
    parts = [
        _both(a, wide(b[:, start : start + width]), positive_a, positive_b)
        for start in range(0, b.shape[1], width)
    ]
    return np.concatenate([value for value, _ in parts], -1), np.concatenate([size for _, size in parts], -1)


def _both(a: Array, b: Array, positive_a: bool | None, positive_b: bool | None) -> tuple[Array, Array]:
    """What comes out of a ReLU is not negative: one pass over it gives both."""
    if a.shape[-2] < b.shape[-1]:
        if not_negative(b, positive_b):
            both = np.concatenate([a, np.abs(a)], axis=-2) @ b
            return both[..., : a.shape[-2], :], both[..., a.shape[-2] :, :]
    elif not_negative(a, positive_a):
        both = a @ np.concatenate([b, np.abs(b)], axis=-1)
        return both[..., : b.shape[-1]], both[..., b.shape[-1] :]
    return a @ b, np.abs(a) @ np.abs(b)


def not_negative(x: Array, known: bool | None) -> bool:
    """Whether no value is negative; looked at where it is not known."""
    return bool(x.min(initial=0) >= 0) if known is None else known


def integer_product(a: Array, b: Array) -> Array:
    """a·b of integers, modulo the range of their type; by float64's fast product where that is exact."""
    kind = np.result_type(a.dtype, b.dtype)
    load = a.shape[-1] * _peak(a) * _peak(b)
    if load < 2**53:
        return (wide(a) @ wide(b)).astype(np.int64).astype(kind)
    return (a.astype(kind) @ b.astype(kind)).astype(kind)


def _peak(x: Array) -> int:
    """The largest magnitude, as a Python integer."""
    return max(-int(x.min(initial=0)), int(x.max(initial=0)))
