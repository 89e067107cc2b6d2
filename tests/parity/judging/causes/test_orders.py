"""Channels, parameters and rows in another order, made by plain NumPy code."""

import numpy as np
import pytest

from tests.parity.judging.causes.case import Array, Case, case
from tests.parity.judging.causes.searched import conv

RNG = np.random.default_rng(19)


def drawn(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def column(a: Array) -> Array:
    return a.reshape(-1, 1, 1)


ROLLED, ANY = np.array([6, 0, 1, 2, 3, 4, 5]), np.array([3, 1, 0, 2, 5, 6, 4])
W, B = drawn(6, 7, 3, 3), drawn(6)
DEPTHWISE, BIAS = drawn(8, 1, 3, 3), drawn(8)
SCALE, SHIFT, MEAN = drawn(7), drawn(7), drawn(7)
VARIANCE = RNG.uniform(0.3, 2, 7).astype(np.float32)
ROW = drawn(3, 24)


def depthwise(x: Array) -> Array:
    """Two filters for each of four channels, with the results of all first filters first."""
    full = np.zeros((8, 4, 3, 3), np.float32)
    full[np.arange(8), np.arange(8) // 2] = DEPTHWISE[:, 0]
    return conv(x, full, 1, 1, 1)[:, [0, 2, 4, 6, 1, 3, 5, 7]] + column(BIAS)


def normalized(
    x: Array, scale: Array = SCALE, shift: Array = SHIFT, mean: Array = MEAN, variance: Array = VARIANCE
) -> Array:
    inverse = column(1 / np.sqrt(variance.astype(np.float64) + 1e-5))
    return (x.astype(np.float64) - column(mean)) * inverse * column(scale) + column(shift)


CASES: dict[str, Case] = {
    "inputs": case(
        {"type": "Conv", "pads": [1] * 4},
        {"w": W, "b": B},
        drawn(2, 7, 11, 10),
        {
            "input channels shifted by -1": lambda x: conv(x[:, ROLLED], W, 1, 1, 1) + column(B),
            "input channels in another order: 3, 1, 0, 2, 5, 6, 4": lambda x: (
                conv(x[:, ANY], W, 1, 1, 1) + column(B)
            ),
        },
    ),
    "multipliers": case(
        {"type": "Conv", "pads": [1] * 4, "group": 4},
        {"w": DEPTHWISE, "b": BIAS},
        drawn(2, 4, 6, 6),
        {
            "output channels of the groups in another order, before the bias: interleaved: 4 × 2 exchanged "
            "with 2 × 4": depthwise
        },
    ),
    "statistics": case(
        {"type": "BatchNormalization"},
        {"scale": SCALE, "shift": SHIFT, "mean": MEAN, "variance": VARIANCE},
        drawn(4, 7, 5, 5),
        {
            "running mean and running variance in reverse order": lambda x: normalized(
                x, mean=MEAN[::-1], variance=VARIANCE[::-1]
            ),
            "running mean in another order: 3, 1, 0, 2, 5, 6, 4": lambda x: normalized(x, mean=MEAN[ANY]),
            "running variance shifted by -1": lambda x: normalized(x, variance=VARIANCE[ROLLED]),
            "scale and shift in reverse order": lambda x: normalized(x, SCALE[::-1], SHIFT[::-1]),
            "scale, shift, running mean and running variance shifted by -1": lambda x: normalized(
                x, SCALE[ROLLED], SHIFT[ROLLED], MEAN[ROLLED], VARIANCE[ROLLED]
            ),
        },
    ),
    "row": case(
        {"type": "Reshape"},
        {"shape": np.array([3, 2, 3, 4])},
        ROW,
        {
            "row reshaped in H, W, C order": lambda x: x.reshape(3, 3, 4, 2).transpose(0, 3, 1, 2),
            "row reshaped in W, H, C order": lambda x: x.reshape(3, 4, 3, 2).transpose(0, 3, 2, 1),
        },
    ),
}


@pytest.mark.parametrize(
    ("name", "cause"), [(name, cause) for name, one in CASES.items() for cause in one.wrong]
)
def test_another_order_is_named(name: str, cause: str) -> None:
    one = CASES[name]
    assert one.named(one.wrong[cause]) == ["different", cause]


@pytest.mark.slow
def test_no_order_is_named_where_the_weights_are_others() -> None:
    """In a 1×1 convolution without padding, of which few other mistakes, and pairs of them, are known."""
    w = W[..., :1, :1]
    other = w + drawn(*w.shape) / 8
    one = case({"type": "Conv"}, {"w": w, "b": B}, CASES["inputs"].x, {})
    assert one.named(lambda x: conv(x[:, ANY], w, 0, 0, 1) + column(B))[1:] == [
        "input channels in another order: 3, 1, 0, 2, 5, 6, 4"
    ]
    assert one.named(lambda x: conv(x[:, ANY], other, 0, 0, 1) + column(B)) == ["different"]
