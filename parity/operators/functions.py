"""How accurately libraries evaluate functions that no library rounds correctly.

A function's accuracy is stated as |ŷ − y| ≤ 2·ulps·u·|y| + floor·u: a number of units in the last
place, and an absolute floor for a function that loses relative accuracy where its value is small (a
logistic function computed from a tanh, or e^x − 1). u is the unit roundoff of the format.

Each stated accuracy holds for every library that was measured, and is at most four times the error of
the worst: tests/parity/operators/test_functions.py measures it again. `source` names the worst library
and its error in the same units (ulps, or u where it says so), in float32, over millions of arguments from
the smallest to the largest. The measured libraries are onnxruntime 1.32 (MLAS), PyTorch 2.13 (SLEEF),
TensorFlow 2.21 (Eigen), JAX 0.10 (XLA) and NumPy 2.4, on a processor with AVX-512. The largest errors
that vendors publish are within the stated accuracies: in the CUDA C++ Programming Guide (appendix on
mathematical functions, single precision), in HIP's "Math API" and in the GNU C library's manual ("Errors
in Math Functions": 2 at most). Vendors count from the correctly rounded result, so add half an ulp.

These functions are known to be worse and are not covered: XLA's atanh in float64 (73 ulps near 0.4);
PyTorch's Softplus in float64, which returns x from x = 20 on and so is 2e-9 too small; PyTorch's sinh and
cosh, which overflow where e^x does, at half of the largest number; PyTorch's Gelu, which overflows where
2x does, and its HardSwish, which overflows where 6x does.
"""

import math
from dataclasses import replace

import numpy as np

from parity.arithmetic import Array, Function

CUBE = 0.044715  # of the tanh form of Gelu
SLOPE = math.sqrt(2 / math.pi)


def erf(x: Array) -> Array:
    """The error function in float64; NumPy has none."""
    flat = np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size)
    return flat.reshape(x.shape)


def erfc(x: Array) -> Array:
    """1 − erf(x), accurate where it is small."""
    flat = np.fromiter(map(math.erfc, x.ravel().tolist()), np.float64, x.size)
    return flat.reshape(x.shape)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^−x), accurate and without overflow for both signs of x."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1 + small)


def softplus(x: Array) -> Array:
    """log(1 + e^x), accurate and without overflow for both signs of x."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _mish(x: Array) -> Array:
    """tanh(log(1 + e^x)) = n / (n + 2) with n = e^x (e^x + 2), both divided by e^2x where x is positive."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, (1 + 2 * small) / (1 + 2 * small * (1 + small)), 1.0) * np.where(
        x >= 0, 1.0, small * (small + 2) / (small * (small + 2) + 2)
    )


def _tanh_form(x: Array) -> Array:
    """(1 + tanh z) / 2 = sigmoid(2z)."""
    return sigmoid(2 * SLOPE * (x + CUBE * x**3))


def power(a: Array, b: Array) -> Array:
    """a^b, evaluated in the same way whether b is one number or an array."""
    return np.power(a, np.broadcast_to(b, np.broadcast_shapes(a.shape, b.shape)) + 0.0)


EXP = Function("exp", np.exp, 3.0, monotone=True, source="JAX 2.7 next to the overflow, NumPy 1.6; CUDA 2")
LOG = Function("log", np.log, 3.5, monotone=True, source="NumPy 2.3 near 0.75, Eigen and MLAS 2.1; CUDA 1")
SQRT = Function("sqrt", np.sqrt, 1.0, monotone=True, source="PyTorch 0.53; HIP 1")
POW = Function("pow", power, 4.5, monotone=True, source="TensorFlow 1.9, NumPy 0.9; CUDA 4")
ROUNDED = Function(
    "two more roundings", np.positive, 1.0, monotone=True, slope=1.0, source="of another order of the factors"
)


def _not_negative(function: Function) -> Function:
    """The function for values that cannot be negative: intervals that reach below zero are cut off there."""
    return replace(function, f=lambda x: function.f(np.maximum(x, 0)))


NORM = _not_negative(SQRT)  # of a sum of squares
LOG_OF_SUM = _not_negative(LOG)  # of a sum of terms that are not negative
ABOVE = 1 - 2.0**-7  # a lower limit that is rounded to any format stays above this fraction of it


def inverse_root(least: float = 0.0) -> Function:
    """1/sqrt(x), where x is known to be at least `least`, up to rounding."""
    return Function(
        "1/sqrt",
        lambda x: 1 / np.sqrt(np.maximum(x, least * ABOVE)),
        2.0,
        monotone=True,
        source="rsqrtf: CUDA 2; a rounded root and a rounded division: below 1.5",
    )


def reciprocal(least: float = 0.0) -> Function:
    """1/x, where x is known to be at least `least`, up to rounding."""
    return Function(
        "1/x",
        lambda x: 1 / np.maximum(x, least * ABOVE),
        1.0,
        monotone=True,
        source="IEEE 754 asks for 0.5; reciprocals that are refined by one Newton step are within 1",
    )


def fixed_power(exponent: float) -> Function:
    """x^exponent, where x is known not to be negative."""
    return Function(
        f"x^{exponent:g}",
        lambda x: np.maximum(x, 0) ** exponent,
        POW.ulps,
        monotone=True,
        source=POW.source,
    )


def inverse_norm(p: int) -> Function:
    """1 / total^(1/p), where `total` is the sum of powers of a p-norm; 0 where the sum is 0."""
    return Function(
        f"1/total^(1/{p})",
        lambda total: np.where(total == 0, 0.0, 1 / np.maximum(total, 0) ** (1 / p)),
        {1: 1.0, 2: 2.0}.get(p, POW.ulps + 0.5),
        monotone=True,
        source="as x^(1/p), and one rounding more",
    )


SIN = Function("sin", np.sin, 2.5, slope=1.0, source="Eigen 1.4, NumPy 1.3, at 7,169 and 46,502; CUDA 2")
COS = Function("cos", np.cos, 2.5, slope=1.0, source="Eigen 1.4, NumPy 1.0; CUDA 2")
TAN = Function("tan", np.tan, 4.5, source="NumPy 1.7; CUDA 4")
ASIN = Function("asin", np.arcsin, 6.0, monotone=True, source="Eigen 4.2 next to 0.5, NumPy 2.8; CUDA 2")
ACOS = Function("acos", np.arccos, 3.5, monotone=True, source="Eigen 2.5, JAX 1.7; CUDA 2")
ATAN = Function("atan", np.arctan, 4.0, monotone=True, source="Eigen 2.8 next to 1; CUDA 2")
SINH = Function(
    "sinh", np.sinh, 20.0, monotone=True, source="JAX 12.6, which computes e^(x − log 2); Eigen 1.4; CUDA 3"
)
COSH = Function("cosh", np.cosh, 20.0, source="JAX 12.6, which computes e^(x − log 2); NumPy 1.8; CUDA 2")
ASINH = Function("asinh", np.arcsinh, 3.5, monotone=True, source="JAX 2.0, Eigen 1.1; CUDA 3")
ACOSH = Function("acosh", np.arccosh, 4.5, monotone=True, source="JAX 2.5, PyTorch 1.1; CUDA 4")
ATANH = Function("atanh", np.arctanh, 3.5, monotone=True, source="JAX 1.6, TensorFlow 1.3; CUDA 3")

ERF = Function("erf", erf, 4.5, monotone=True, source="Eigen and XLA 2.9 near 3.5; HIP 4, CUDA 2")
TANH = Function(
    "tanh",
    np.tanh,
    4.0,
    monotone=True,
    source="Eigen and MLAS 2.7 at 7 to 9, XLA 3.5 in float64; CUDA 2",
)
TANH_OF_RNN = replace(
    TANH,
    floor=2.0,
    source="onnxruntime's RNN 2.0 u beside half an ulp, however small the value; else as tanh",
)
SIGMOID = Function(
    "sigmoid",
    sigmoid,
    0.5,
    floor=2.5,
    monotone=True,
    slope=0.25,
    source="MLAS: a rational function, clamped at ±18, 2.3 u off where it is small; Eigen 1.9 u",
)
SOFTPLUS = Function(
    "softplus",
    softplus,
    2.5,
    floor=1.5,
    monotone=True,
    slope=1.0,
    source="Eigen 2.1 above 9; log(1 + e^x) as it stands loses 1.0 u however small the value",
)
SOFTSIGN = Function(
    "x / (1 + |x|)",
    lambda x: np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x))),
    1.5,
    monotone=True,
    slope=1.0,
    source="two roundings, or three where it is multiplied by a reciprocal",
)
EXPM1 = Function(
    "e^x − 1",
    np.expm1,
    0.5,
    floor=3.0,
    monotone=True,
    source="e^x − 1 in two steps, as in MLAS and Eigen, with NumPy's exp: 2.0 u off next to 0, and a "
    "rounding more where a factor is multiplied in first; JAX 2.8 ulps",
)
GAUSS = Function(
    "(1 + erf(x/√2)) / 2",
    lambda x: erfc(x * -math.sqrt(0.5)) / 2,
    0.5,
    floor=6.0,
    monotone=True,
    slope=0.4,
    source="PyTorch's Gelu 5.5 u at −3.5, after cancellation; MLAS 0.6 u",
)
GAUSS_TANH = Function(
    "(1 + tanh(√(2/π)(x + 0.044715 x³))) / 2",
    _tanh_form,
    0.5,
    floor=3.5,
    monotone=True,
    slope=0.41,
    source="MLAS 2.6 u at −5, TensorFlow 2.7 u at −4.6, after cancellation",
)
MISH = Function(
    "tanh(log(1 + e^x))",
    _mish,
    2.0,
    floor=2.5,
    monotone=True,
    slope=0.33,
    source="MLAS 2.5 ulps above 8; ((1 + e^x)² − 1) / ((1 + e^x)² + 1) loses 1.5 u",
)
