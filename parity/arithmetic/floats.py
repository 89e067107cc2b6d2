"""Facts about floating point: formats, unit roundoff, and bounds on the sum of several roundings."""

from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np

Array = np.ndarray
U64 = 2.0**-53  # unit roundoff of float64, in which references and bounds are themselves evaluated


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    Attributes:
        name: its name in NumPy and ONNX; "tf32" is the format to which NVIDIA's tensor cores round float32.
        digits: p, bits of the significand with the leading one.
        lowest: exponent e of the smallest normal number 2^e.
        dtype: the NumPy type that holds it.
    """

    name: str
    digits: int
    lowest: int
    dtype: np.dtype

    @property
    def u(self) -> float:
        """Unit roundoff: half the distance from 1 to the next larger number; 2^-24 in float32."""
        return 2.0**-self.digits

    @property
    def smallest(self) -> float:
        """The smallest subnormal number."""
        return 2.0 ** (self.lowest - self.digits + 1)

    @property
    def tiny(self) -> float:
        """The smallest normal number."""
        return 2.0**self.lowest

    @property
    def flush(self) -> float:
        """Smaller numbers may be set to zero: TensorFlow and XLA compute without subnormal numbers.

        In float16 this is not done, because its subnormal numbers are used.
        """
        return 0.0 if self.name == "float16" else self.tiny

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float((2 - 2.0 ** (1 - self.digits)) * 2.0 ** (1 - self.lowest))

    def round(self, x: Array) -> Array:
        """x rounded to this format, to nearest, ties to even, as `dtype`; overflow gives infinity."""
        with np.errstate(over="ignore"):
            if self.name in ("tf32", "bfloat16") and np.asarray(x).dtype == np.float64:
                x = to_odd(x)  # float32 is between the two: rounding to nearest twice would be off
            if self.name != "tf32":
                return np.asarray(x).astype(self.dtype)
            single = np.asarray(x, np.float32)
            bits = single.view(np.uint32)
            half = ((bits >> 13) & 1) + 0xFFF
            rounded = ((bits + half) & np.uint32(0xFFFFE000)).view(np.float32)
            return np.where(np.isfinite(single), rounded, single)


FLOAT16 = Format("float16", 11, -14, np.dtype(np.float16))
BFLOAT16 = Format("bfloat16", 8, -126, np.dtype(ml_dtypes.bfloat16))
TF32 = Format("tf32", 11, -126, np.dtype(np.float32))
FLOAT32 = Format("float32", 24, -126, np.dtype(np.float32))
FLOAT64 = Format("float64", 53, -1022, np.dtype(np.float64))
FORMATS = {one.name: one for one in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}  # those that an array can have


def to_odd(x: Array) -> Array:
    """float64 rounded to odd in float32. Rounding the result to a shorter format equals a single rounding.

    S. Boldo, G. Melquiond, When double rounding is odd, 2004.
    """
    near = np.asarray(x).astype(np.float32)
    bits = near.view(np.uint32)
    inexact = (near != x) & np.isfinite(x)
    too_large = np.abs(near.astype(np.float64)) > np.abs(x)  # towards zero, then the last bit set
    cut = np.where(too_large, bits - 1, bits) | np.uint32(1)
    return np.where(inexact, cut, bits).astype(np.uint32).view(np.float32)


def format_of(array: Array) -> Format | None:
    """The format of an array's numbers; None if they are not floats (integers, booleans, strings)."""
    return _format_of(array.dtype)


@cache  # NumPy makes the name of a dtype anew each time
def _format_of(dtype: np.dtype) -> Format | None:
    return FORMATS.get(dtype.name)


def gamma(k: int, u: float) -> float:
    """γ_k = k·u / (1 − k·u), a bound on the relative error after k roundings; infinite for k·u ≥ 1.

    N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., lemma 3.1.
    """
    return k * u / (1 - k * u) if k * u < 1 else np.inf


def cover(n: int) -> float:
    """A factor for a bound evaluated in float64 with sums of n terms; it covers the rounding of the bound."""
    return 1 + 4 * (n + 8) * U64


def equal_bits(a: Array, b: Array) -> Array:
    """Where values of the same dtype and shape have equal bits; zeros of both signs are equal, and NaNs."""
    if a.dtype.kind in "biuSUO":
        return np.asarray(a == b)
    same = _bits(a) == _bits(b)
    return same | ((a == 0) & (b == 0)) | (np.isnan(a) & np.isnan(b))


def _bits(x: Array) -> Array:
    """The bits of each value as an unsigned integer; `ascontiguousarray` would give a scalar an axis."""
    return np.ascontiguousarray(x).view(f"u{x.itemsize}").reshape(x.shape)
