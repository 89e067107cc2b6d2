"""Mistakes in one layer, made by plain NumPy code and not by the catalogue's own operators."""

import numpy as np
import pytest

from tests.parity.judging.causes.case import Array, Case, case
from tests.parity.judging.causes.searched import conv

RNG = np.random.default_rng(7)


def drawn(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


# --- convolutions --------------------------------------------------------------------------------

W, GROUPED, T, BIAS = drawn(6, 4, 4, 4), drawn(6, 2, 3, 3), drawn(4, 6, 3, 3), drawn(6)


def padded(x: Array, top: int, left: int, bottom: int, right: int, mode: str = "constant") -> Array:
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode=mode)  # type: ignore[call-overload]


def transposed(x: Array, bias: Array | float = 0.0) -> Array:
    """ConvTranspose of stride 2 with padding 1, without output padding."""
    n, _, height, width = x.shape
    full = np.zeros((n, 6, 2 * height + 1, 2 * width + 1))
    for i in range(height):
        for j in range(width):
            full[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum("nc,cokl->nokl", x[:, :, i, j], T)
    return full[:, :, 1:-1, 1:-1] + np.reshape(bias, (-1, 1, 1))


CONVOLUTIONS = {
    "padding": case(
        {"type": "Conv", "pads": [1, 1, 2, 2]},
        {"w": W},
        drawn(1, 4, 11, 10),
        {
            "padding on the other side: pads (2, 1, 1, 2) for (1, 1, 2, 2)": lambda x: conv(
                padded(x, 2, 1, 1, 2), W, 0, 0, 1
            ),
            "padding on the other side: pads (1, 3, 2, 0) for (1, 1, 2, 2)": lambda x: conv(
                padded(x, 1, 3, 2, 0), W, 0, 0, 1
            ),
        },
    ),
    "height and width": case(
        {"type": "Conv", "pads": [1, 0, 1, 0], "strides": [2, 2]},
        {"w": W},
        drawn(2, 4, 12, 12),
        {
            "padding of height and width swapped: pads (0, 1, 0, 1) for (1, 0, 1, 0)": lambda x: conv(
                padded(x, 0, 1, 0, 1), W, 0, 0, 2
            ),
            "stride 1 for (2, 2), cut to the size": lambda x: conv(padded(x, 1, 0, 1, 0), W, 0, 0, 1)[
                :, :, :6, :5
            ],
        },
    ),
    "activation": case(
        {"type": "Conv"},
        {"w": W},
        drawn(2, 4, 7, 7),
        {
            "ReLU in Conv": lambda x: np.maximum(conv(x, W, 0, 0, 1), 0),
            "tanh in Conv": lambda x: np.tanh(conv(x, W, 0, 0, 1)),
        },
    ),
    "groups": case(
        {"type": "Conv", "group": 2},
        {"w": GROUPED},
        drawn(2, 4, 7, 7),
        {"all groups read the first group's channels": lambda x: conv(x[:, :2], GROUPED, 0, 0, 1)},
    ),
    "output padding": case(
        {"type": "ConvTranspose", "strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]},
        {"w": T, "b": BIAS},
        drawn(1, 4, 5, 5),
        {
            "output padding filled with zeros": lambda x: padded(transposed(x, BIAS), 0, 0, 1, 1),
            "output padding filled with the bias": lambda x: (
                padded(transposed(x), 0, 0, 1, 1) + BIAS.reshape(-1, 1, 1)
            ),
        },
    ),
}

# --- places --------------------------------------------------------------------------------------

WIDTHS = np.array([0, 0, 2, 1, 0, 0, 1, 2])


def pads(right: str) -> Case:
    return case(
        {"type": "Pad", "mode": right},
        {"widths": WIDTHS},
        drawn(1, 3, 6, 7),
        {f"pad mode symmetric for {right}": lambda x: padded(x, 2, 1, 1, 2, "symmetric")},
    )


def maxima(x: Array) -> Array:
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (2, 3)).max((-2, -1))


def blocks(x: Array) -> Array:
    """The largest values of blocks of 2 × 2."""
    return x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max((3, 5))


def powers(x: Array, p: int) -> Array:
    blocks = np.abs(x.astype(np.float64)).reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2)
    return (blocks**p).sum((3, 5))


def norms(p: int) -> Case:
    return case(
        {"type": "LpPool", "kernel_shape": [2, 2], "strides": [2, 2], "p": p},
        {},
        drawn(2, 3, 8, 8),
        {"root missing": lambda x: powers(x, p)},
    )


PLACES = {
    **{mode: pads(mode) for mode in ("reflect", "edge", "constant", "wrap")},
    "dilation": case(
        {"type": "MaxPool", "kernel_shape": [3, 3], "dilations": [2, 2], "pads": [2] * 4},
        {},
        drawn(2, 3, 9, 9),
        {"dilations ignored, with the padding that keeps the size": maxima},
    ),
    "window": case(
        {"type": "MaxPool", "kernel_shape": [2, 2], "strides": [2, 2]},
        {},
        drawn(2, 3, 8, 8) - 2,
        {
            "windows that begin 1 later, at the same size": lambda x: blocks(
                padded(x[:, :, 1:, 1:], 0, 0, 1, 1, "edge")
            ),
            "maximum that begins at zero, not at minus infinity": lambda x: np.maximum(blocks(x), 0),
        },
    ),
    "root of squares": norms(2),
    "root of cubes": norms(3),
}

# --- normalizations, activations -----------------------------------------------------------------

SCALE, SHIFT, MEAN = drawn(6), drawn(6), drawn(6)
VARIANCE = RNG.uniform(0.3, 2, 6).astype(np.float32)


def normalized(x: Array, mean: Array, variance: Array) -> Array:
    scale, shift = column(SCALE), column(SHIFT)
    return (x.astype(np.float64) - mean) / np.sqrt(variance + 1e-5) * scale + shift


def column(a: Array) -> Array:
    return a.reshape(-1, 1, 1)


def batch_norm(x: Array) -> Array:
    wide, axes = x.astype(np.float64), (0, 2, 3)
    return (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)


def response(x: Array, size: int, each: float) -> Array:
    """LRN of 0.75, with what each square is multiplied by."""
    wide = np.pad(x.astype(np.float64) ** 2, ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
    return x / (1 + each * np.lib.stride_tricks.sliding_window_view(wide, size, 1).sum(-1)) ** 0.75


def negative(x: Array, inner: float) -> Array:
    return np.where(x > 0, x, 2.0 * np.expm1(np.minimum(x.astype(np.float64), 0) * inner))


FUNCTIONS = {
    "ReLU": case(
        {"type": "Relu"}, {}, drawn(4, 9), {"squared ReLU for ReLU": lambda x: np.maximum(x, 0) ** 2}
    ),
    "batch norm": case(
        {"type": "BatchNormalization"},
        {"scale": SCALE, "shift": SHIFT, "mean": MEAN, "variance": VARIANCE},
        drawn(4, 6, 5, 5),
        {
            "running mean and variance swapped, and signs dropped": lambda x: normalized(
                x, VARIANCE.reshape(-1, 1, 1), np.abs(MEAN).reshape(-1, 1, 1)
            ),
            "statistics of each map of each image for running ones (instance normalization)": lambda x: (
                normalized(x, x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True))
            ),
        },
    ),
    "LRN": case(
        {"type": "LRN", "size": 5, "alpha": 1e-2},
        {},
        4 * drawn(2, 12, 4, 4),
        {
            "window of size 3 for 5": lambda x: response(x, 3, 1e-2 / 5),
            "window of size 3 for 5, alpha divided by 3": lambda x: response(x, 3, 1e-2 / 3),
        },
    ),
    "group norm": case(
        {"type": "GroupNormalization", "num_groups": 2},
        {"scale": SCALE[:2], "shift": SHIFT[:2]},
        drawn(4, 6, 5, 5),
        {
            "moments over axes (0, 3, 4) for (2, 3, 4) of the view (4, 2, 3, 5, 5)": lambda x: (
                batch_norm(x) * column(SCALE[:2].repeat(3)) + column(SHIFT[:2].repeat(3))
            ),
        },
    ),
    "hard swish": case(
        {"type": "HardSwish"},
        {},
        4 * drawn(4, 64),
        {"hard swish with 0.2x + 0.5 for HardSwish": lambda x: x * np.clip(0.2 * x + 0.5, 0, 1)},
    ),
    "tanh": case({"type": "Tanh"}, {}, drawn(4, 64), {"hard tanh for Tanh": lambda x: np.clip(x, -1, 1)}),
    "sigmoid": case(
        {"type": "Sigmoid"},
        {},
        drawn(4, 64),
        {"log sigmoid for Sigmoid": lambda x: -np.log1p(np.exp(-x.astype(np.float64)))},
    ),
    "softmax": case(
        {"type": "Softmax", "axis": -1},
        {},
        drawn(4, 9),
        {
            "softmax over all axes": lambda x: (
                np.exp(x.astype(np.float64)) / np.exp(x.astype(np.float64)).sum()
            )
        },
    ),
    "slopes": case(
        {"type": "PRelu"},
        {"slope": np.abs(SCALE)},
        drawn(4, 6),
        {"one slope 0.25 for all values": lambda x: np.where(x > 0, x, 0.25 * x)},
    ),
    "CELU": case(
        {"type": "Celu", "alpha": 2.0},
        {},
        drawn(4, 64),
        {"Elu with the same alpha 2 for Celu": lambda x: negative(x, 1.0)},
    ),
    "ELU": case(
        {"type": "Elu", "alpha": 2.0},
        {},
        drawn(4, 64),
        {
            "Celu with the same alpha 2 for Elu": lambda x: negative(x, 0.5),
            "leaky ReLU (0.01) for ELU": lambda x: np.where(x > 0, x, 0.01 * x),
            "Celu with alpha 0.5 for Elu": lambda x: np.where(
                x > 0, x, 0.25 * negative(np.minimum(x, 0), 2.0)
            ),
        },
    ),
}

# --- selections -----------------------------------------------------------------------------------

SELECTED = {
    "last step": case(
        {"type": "Gather", "axis": 1},
        {"last": np.array(-1)},
        drawn(3, 9, 5),
        {
            "mean over axis 1 for index -1": lambda x: x.mean(1),
            "maximum over axis 1 for index -1": lambda x: x.max(1),
        },
    ),
    "first token": case(
        {"type": "Gather", "axis": 1},
        {"first": np.array([0])},
        drawn(3, 9, 5),
        {"mean over axis 1 for index 0": lambda x: x.mean(1, keepdims=True)},
    ),
}

CASES = {**CONVOLUTIONS, **PLACES, **FUNCTIONS, **SELECTED}


@pytest.mark.parametrize(
    ("name", "cause"), [(name, cause) for name, one in CASES.items() for cause in one.wrong]
)
def test_a_mistake_is_named(name: str, cause: str) -> None:
    one = CASES[name]
    assert one.named(one.wrong[cause]) == ["different", cause]
