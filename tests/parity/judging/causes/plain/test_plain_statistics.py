"""Batch normalization and the response of neighbouring channels, with each mistake in plain NumPy."""

import numpy as np
import pytest

from tests.parity.judging.causes.plain.layer import Array, Layer, drawn

X = drawn(3, 4, 4, 5)
SCALE, SHIFT, MEAN = drawn(4, seed=1), drawn(4, seed=2), drawn(4, seed=3)
SPREAD = np.abs(drawn(4, seed=4)) + np.float32(0.25)
EPSILON = 0.125
WIDE = X.astype(np.float64)


def along(a: Array, axis: int = 1) -> Array:
    return a.astype(np.float64).reshape(*(-1 if k == axis else 1 for k in range(4)))


def normalized(
    scale: Array = SCALE, shift: Array = SHIFT, mean: Array = MEAN, spread: Array = SPREAD, axis: int = 1
) -> Array:
    root = np.sqrt(along(spread, axis) + EPSILON)
    return (WIDE - along(mean, axis)) / root * along(scale, axis) + along(shift, axis)


def batch_norm() -> Layer:
    """Made anew for each test, which would notice no change of the code if another had made it."""
    return Layer("BatchNormalization", X, SCALE, SHIFT, MEAN, SPREAD, epsilon=EPSILON)


ONES, ZEROS = np.ones(4), np.zeros(4)
COUNT = 3 * 4 * 5
OF_BATCH = WIDE.mean((0, 2, 3)), WIDE.var((0, 2, 3))
EXPECTED = {
    "epsilon 0 for 0.125": (WIDE - along(MEAN)) / np.sqrt(along(SPREAD)) * along(SCALE) + along(SHIFT),
    "epsilon 0.001 for 0.125": normalized(spread=SPREAD.astype(np.float64) + 0.001 - EPSILON),
    "epsilon 0.25 for 0.125": normalized(spread=SPREAD.astype(np.float64) + 0.125),
    "batch statistics for running ones (training mode)": normalized(mean=OF_BATCH[0], spread=OF_BATCH[1]),
    "batch statistics for running ones (training mode) with n - 1": normalized(
        mean=OF_BATCH[0], spread=OF_BATCH[1] * COUNT / (COUNT - 1)
    ),
    "running variance multiplied by n / (n - 1)": normalized(spread=SPREAD * np.float64(COUNT / (COUNT - 1))),
    "running variance used as a standard deviation": normalized(spread=SPREAD.astype(np.float64) ** 2),
    "standard deviation given for the running variance": normalized(
        spread=np.sqrt(SPREAD.astype(np.float64))
    ),
    "running mean and variance swapped, and signs dropped": normalized(mean=SPREAD, spread=np.abs(MEAN)),
    "running mean and variance not loaded: 0 and 1": normalized(mean=ZEROS, spread=ONES),
    "running mean not loaded: 0": normalized(mean=ZEROS),
    "running variance not loaded: 1": normalized(spread=ONES),
    "epsilon outside of the root": (WIDE - along(MEAN)) / (np.sqrt(along(SPREAD)) + EPSILON) * along(SCALE)
    + along(SHIFT),
    "root missing: divided by the variance": (WIDE - along(MEAN)) / (along(SPREAD) + EPSILON) * along(SCALE)
    + along(SHIFT),
    "channels on axis 2 for 1": normalized(axis=2),
    "scale missing": normalized(scale=ONES),
    "shift missing": normalized(shift=ZEROS),
    "scale 1 + w for w": normalized(scale=1 + SCALE.astype(np.float64)),
    "scale w for 1 + w": normalized(scale=SCALE.astype(np.float64) - 1),
    "scale and shift not loaded: 1 and 0": normalized(scale=ONES, shift=ZEROS),
    "scale and shift swapped": normalized(scale=SHIFT, shift=SCALE),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_batch_normalization(name):
    batch_norm().returns(name, EXPECTED[name])


def test_statistics_of_each_map():
    middle, spread = (f((2, 3), keepdims=True) for f in (WIDE.mean, WIDE.var))
    each = (WIDE - middle) / np.sqrt(spread + EPSILON) * along(SCALE) + along(SHIFT)
    batch_norm().returns(
        "statistics of each map of each image for running ones (instance normalization)", each
    )


def test_parameters_that_are_exchanged():
    """Of which all may be a variance: a negative one gives NaN."""
    positive = [np.abs(drawn(4, seed=seed)) + np.float32(0.5) for seed in range(5, 9)]
    scale, shift, mean, spread = positive
    layer = Layer("BatchNormalization", X, *positive, epsilon=EPSILON)
    for name, order in {
        "running mean and variance swapped": (scale, shift, spread, mean),
        "scale and shift swapped with mean and variance": (mean, spread, scale, shift),
    }.items():
        layer.returns(name, normalized(*order))
    assert "running mean and variance swapped, and signs dropped" not in layer.mistakes


def test_what_makes_no_difference_is_no_mistake():
    """One value has no statistics; rows have no maps; training has no running ones; axes of other sizes."""
    one = Layer("BatchNormalization", X[:1, :, 0, 0], SCALE, SHIFT, MEAN, SPREAD)
    assert not [name for name in one.mistakes if "batch statistics" in name or "n - 1" in name]
    assert not [name for name in one.mistakes if "each map" in name or "channels on axis" in name]
    two = Layer("BatchNormalization", X[:2, :, 0, 0], SCALE, SHIFT, MEAN, SPREAD)
    assert "running variance multiplied by n / (n - 1)" in two.mistakes
    training = Layer(
        "BatchNormalization", X, SCALE, SHIFT, MEAN, SPREAD, outputs=3, training_mode=1, epsilon=EPSILON
    )
    assert not [name for name in training.mistakes if "running" in name or "channels on axis" in name]
    assert "channels on axis 3 for 1" not in batch_norm().mistakes
    assert "epsilon 0.125 for 0.125" not in batch_norm().mistakes
    assert batch_norm().mistakes["epsilon 0.001 for 0.125"].value == 0.001
    cases = {name: one.case for name, one in batch_norm().mistakes.items() if name.startswith("epsilon 0")}
    assert set(cases.values()) == {"huggingface/transformers#18597"}


def test_without_a_shift_nothing_is_exchanged():
    alone = Layer("LayerNormalization", X[0, 0], drawn(5, seed=1))
    assert "scale missing" in alone.mistakes
    assert not [name for name in alone.mistakes if "shift" in name]


# --- other norms ---------------------------------------------------------------------------------


def test_another_norm():
    layer = Layer("LpNormalization", X, axis=-1, p=1)
    for axis in range(3):
        size = np.abs(WIDE).sum(axis, keepdims=True)
        layer.returns(f"axis {axis} for 3", WIDE / size)
    layer.returns("p 2 for 1", WIDE / np.sqrt((WIDE**2).sum(-1, keepdims=True)))
    assert "axis 3 for 3" not in layer.mistakes
    assert "p 1 for 2" in Layer("LpNormalization", X, axis=1, p=2).mistakes


WIDTH, ALPHA, BETA, BIAS = 3, 0.5, 0.75, 2.0
DEEP = drawn(2, 7, 3, 2, seed=1)


def response(size: int = WIDTH, alpha: float = ALPHA, beta: float = BETA, bias: float = BIAS) -> Array:
    x, squares = DEEP.astype(np.float64), np.zeros(DEEP.shape)
    for c in range(7):
        squares[:, c] = (x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(1)
    return x / (bias + alpha / size * squares) ** beta


def test_the_response_of_neighbouring_channels():
    layer = Layer("LRN", DEEP, size=WIDTH, alpha=ALPHA, beta=BETA, bias=BIAS)
    layer.returns("", response())
    expected = {
        "alpha not divided by the size of the window": response(alpha=3 * ALPHA),
        "alpha divided by the size of the window twice": response(alpha=ALPHA / 3),
        "bias 1 for 2": response(bias=1),
        "beta 0.5 for 0.75": response(beta=0.5),
        "beta 1 for 0.75": response(beta=1),
    }
    for name, values in expected.items():
        layer.returns(name, values)
    assert not {"bias 2 for 2", "beta 0.75 for 0.75"} & layer.mistakes.keys()
    windows = [name for name in layer.mistakes if name.startswith("window of size")]
    assert [int(name.split()[3].rstrip(",")) for name in windows] == [7, 7, 1, 1, 5, 5]
    for name in windows:
        size = int(name.split()[3])
        layer.returns(name, response(size, ALPHA if "divided" in name else ALPHA * size / WIDTH))
