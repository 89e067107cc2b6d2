"""Mistakes of quantization, made by plain NumPy code."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.parity.judging.causes.case import Array, Case, N, Port
from tests.parity.small import adds_in_16_bits, computed

RNG = np.random.default_rng(3)
X = RNG.standard_normal((6, 64)).astype(np.float32) * 3
SCALE, ZERO = 0.0625, 120  # a power of two: halves are exact
SCALES = np.array([0.05, 0.02, 0.07, 0.11, 0.03, 0.09], np.float32)
BYTES = RNG.integers(0, 256, (6, 6)).astype(np.float32)


def halved(x: Array) -> Array:
    """Some values halfway between two integers."""
    y = x.copy()
    y[:, ::4] = (np.round(y[:, ::4] / SCALE) + 0.5) * SCALE
    return y


def quantized(x: Array, zero: int = ZERO, low: int = 0, high: int = 255, rounded: Port = np.rint) -> Array:
    return np.clip(rounded(x / SCALE) + zero, low, high)


def read(q: Array, zero: int = ZERO) -> Array:
    return (q - zero) * SCALE


THERE_AND_BACK = Case(
    [
        N("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        N("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ],
    {"scale": SCALE, "zero": np.array(ZERO, np.uint8)},
    halved(X),
    lambda x: read(quantized(x)),
    {
        "not quantized: QuantizeLinear and DequantizeLinear left out": lambda x: x,
        "range 0 to 127 for that of uint8": lambda x: read(quantized(x, high=127)),
        "rounded down, not to the nearest": lambda x: read(quantized(x, rounded=np.floor)),
        "cut off towards zero, not to the nearest": lambda x: read(quantized(x, rounded=np.trunc)),
        "halves rounded away from zero, not to the nearest": lambda x: read(
            quantized(x, rounded=lambda a: np.trunc(a + np.copysign(0.5, a)))
        ),
        "zero point subtracted behind the scale": lambda x: quantized(x) * SCALE - ZERO,
    },
)
SIGNED = Case(
    [
        N("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        N("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ],
    {"scale": SCALE, "zero": np.array(0, np.int8)},
    X * 4,
    lambda x: read(quantized(x, 0, -128, 127), 0),
    {
        "range -127 to 127 for that of int8": lambda x: read(quantized(x, 0, -127, 127), 0),
        "range -64 to 63 for that of int8": lambda x: read(quantized(x, 0, -64, 63), 0),
    },
)
PER_CHANNEL = Case(
    [
        N("Cast", ["x"], ["q"], to=2),
        N("DequantizeLinear", ["q", "scales", "zeros"], ["y"], axis=0),
    ],
    {"scales": SCALES, "zeros": np.array([3, 9, 4, 7, 1, 5], np.uint8)},
    BYTES,
    lambda x: (x - np.array([[3], [9], [4], [7], [1], [5]])) * SCALES[:, None],
    {
        "zero point left out": lambda x: x * SCALES[:, None],
        "the first scale for all channels": lambda x: (
            (x - np.array([[3], [9], [4], [7], [1], [5]])) * SCALES[0]
        ),
        "scales along axis 1 for 0": lambda x: (x - np.array([3, 9, 4, 7, 1, 5])) * SCALES,
    },
)
SATURATED = "pairs of products added in 16 bits, which saturate"
B = RNG.integers(-128, 128, (7, 5)).astype(np.int8)
W = RNG.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
BIAS = RNG.integers(-5000, 5000, 4).astype(np.int32)
IN, OUT = 9, 128  # zero points


def pairs_in_16_bits(a: Array, b: Array) -> int:
    """VPMADDUBSW, and the sum of what it returns."""
    products = [int(one) * int(two) for one, two in zip(a, b, strict=True)]
    return sum(max(-32768, min(32767, sum(products[k : k + 2]))) for k in range(0, len(products), 2))


def exact(a: Array, b: Array) -> int:
    return int(a.astype(int) @ b.astype(int))


def product(dot: Callable[[Array, Array], int], a: Array) -> Array:
    """(A − 9) · B, with the zero point subtracted behind the products."""
    a = a.astype(np.uint8)
    return np.array([[dot(row, column) - IN * exact(np.ones(7), column) for column in B.T] for row in a])


def convolution(dot: Callable[[Array, Array], int], x: Array) -> Array:
    """Two groups, padded and with a stride of 2; the channels of a window lie side by side."""
    padded = np.pad(x.astype(np.uint8), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=IN)
    y = np.zeros((2, 4, 3, 3), int)
    for n, o, i, j in np.ndindex(y.shape):
        seen = padded[n, o // 2 * 3 : o // 2 * 3 + 3, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        a, b = (one.transpose(1, 2, 0).ravel() for one in (seen, W[o]))
        y[n, o, i, j] = dot(a, b) - IN * exact(np.ones(27), b) + BIAS[o]
    return y


def in_bytes(total: Array) -> Array:
    return np.clip(np.rint(total * 2.0**-9) + OUT, 0, 255)


SCALES_AND_ZEROS: dict[str, Array | float] = {
    "one": 1.0,
    "in": np.array(IN, np.uint8),
    "zero": np.array(0, np.int8),
    "s": 512.0,
    "out": np.array(OUT, np.uint8),
}
LAST = N("Cast", ["i"], ["y"], to=1)
TO_BYTES = N("Cast", ["x"], ["q"], to=2)
MATMUL_INTEGER = Case(
    [
        TO_BYTES,
        N("MatMulInteger", ["q", "b", "in"], ["i"]),
        N("Cast", ["i"], ["f"], to=1),
        N("Mul", ["f", "s"], ["y"]),
    ],
    {"b": B, "in": np.array(IN, np.uint8), "s": 0.013},
    RNG.integers(0, 256, (6, 7)).astype(np.float32),
    lambda x: product(exact, x).astype(np.float32) * np.float32(0.013),
    {SATURATED: lambda x: product(pairs_in_16_bits, x).astype(np.float32) * np.float32(0.013)},
)
QLINEAR_MATMUL = Case(
    [TO_BYTES, N("QLinearMatMul", ["q", "one", "in", "b", "one", "zero", "s", "out"], ["i"]), LAST],
    {"b": B, **SCALES_AND_ZEROS},
    RNG.integers(0, 256, (6, 7)).astype(np.float32),
    lambda x: in_bytes(product(exact, x)),
    {SATURATED: lambda x: in_bytes(product(pairs_in_16_bits, x))},
)
QLINEAR_CONV = Case(
    [
        TO_BYTES,
        N(
            "QLinearConv",
            ["q", "one", "in", "w", "one", "zero", "s", "out", "bias"],
            ["i"],
            pads=[1, 1, 1, 1],
            strides=[2, 2],
            group=2,
        ),
        LAST,
    ],
    {"w": W, "bias": BIAS, **SCALES_AND_ZEROS},
    RNG.integers(0, 256, (2, 6, 5, 5)).astype(np.float32),
    lambda x: in_bytes(convolution(exact, x)),
    {SATURATED: lambda x: in_bytes(convolution(pairs_in_16_bits, x))},
)
CASES = {
    "there and back": THERE_AND_BACK,
    "signed": SIGNED,
    "per channel": PER_CHANNEL,
    "MatMulInteger": MATMUL_INTEGER,
    "QLinearMatMul": QLINEAR_MATMUL,
    "QLinearConv": QLINEAR_CONV,
}


@pytest.mark.parametrize("name", ["MatMulInteger", "QLinearMatMul", "QLinearConv"])
def test_onnxruntime_adds_in_16_bits_on_some_processors(name: str) -> None:
    case = CASES[name]
    y = computed(case.proto, {"x": case.x})["y"]
    assert case.named(lambda x: y) == (["different", SATURATED] if adds_in_16_bits() else ["equal"])


@pytest.mark.parametrize("name", CASES)
def test_a_right_port_is_not_accused(name: str) -> None:
    assert CASES[name].named(CASES[name].right) in (["equal"], ["rounding"])


@pytest.mark.parametrize(
    ("name", "cause"), [(name, cause) for name, case in CASES.items() for cause in case.wrong]
)
def test_a_mistake_is_named(name: str, cause: str) -> None:
    verdict, *causes = CASES[name].named(CASES[name].wrong[cause])
    assert verdict in ("different", "coarse")
    assert cause in causes
    assert len(causes) <= 2, "a second name is another view of the same values"
