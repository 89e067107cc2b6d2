"""Mistakes of quantization, made by plain NumPy code."""

import numpy as np
import pytest

from tests.parity.judging.causes.case import Array, Case, N, Port

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
CASES = {
    "there and back": THERE_AND_BACK,
    "signed": SIGNED,
    "per channel": PER_CHANNEL,
}


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
