"""The certificate's sums and their names, where a certificate that allows too much would not be noticed."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenet.network.architecture import PARAM_SHAPES, conv, dense
from lenet.network.recipe import Recipe
from lenet.reference.certificate import (
    _interval,
    _judge,
    certify,
    certify_backward,
    certify_range,
    certify_step,
)
from parity.arithmetic import Integers, TooWide
from parity.errors import UserError
from tests.lenet.reference.grids import pixels16, ternary_params

LEVELS = np.arange(16, dtype=np.float32) / 16
LAYERS = {
    "dense": (dense("y", 3, 2), 1),
    "conv": (conv("y", 1, 2, kernel=2), 4),
    "padded": (conv("y", 1, 2, kernel=2, padding=1), 4),
}
STEP = Recipe(momentum=0.5, weight_decay=2.0**-3)
dtypes = pytest.mark.parametrize(("dtype", "limit"), [("float32", 24), ("float64", 53)])


@pytest.mark.parametrize("kind", LAYERS)
@given(seed=st.integers(0, 2**32 - 1), grids=st.tuples(*[st.integers(-2, 2)] * 3))
def test_interval_of_a_layer_is_that_of_all_corners(
    kind: str, seed: int, grids: tuple[int, int, int]
) -> None:
    """Every input at one of its ends: the lowest and highest output, and the largest sum of magnitudes."""
    layer, taps = LAYERS[kind]
    rng = np.random.default_rng(seed)
    weight, bias = (rng.integers(-9, 10, shape) for _, shape in layer.params)
    inputs = weight.shape[1]
    low = rng.integers(-9, 9, (inputs,))
    high = low + rng.integers(0, 9, (inputs,))
    w_grid, b_grid, x_grid = (Fraction(2) ** one for one in grids)
    least, most = (side.astype(object) for side in (low, high))
    lowest, highest, bound, exponent = _interval(
        layer, Integers(weight, grids[0]), Integers(bias, grids[1]), least, most, grids[2]
    )
    zero = {0} if kind == "padded" else set()
    reached = [{int(low[k]), int(high[k])} | zero for k in range(inputs) for _ in range(taps)]
    for unit in range(2):
        row, b = [int(one) for one in weight[unit].ravel()], int(bias[unit]) * b_grid
        corners = [sum(w * x for w, x in zip(row, corner, strict=True)) for corner in product(*reached)]
        sums = [corner * w_grid * x_grid + b for corner in corners]
        load = sum(abs(w) * max(map(abs, xs)) for w, xs in zip(row, reached, strict=True))
        grid = Fraction(2) ** exponent
        assert (lowest[unit] * grid, highest[unit] * grid) == (min(sums), max(sums))
        assert bound[unit] * grid == load * w_grid * x_grid + abs(b)


def test_a_layer_that_is_never_positive_passes_nothing_on():
    params = ternary_params(0)
    params["conv1.bias"][...] = -64
    bounds = {entry.name: entry.bound * 2.0**entry.exponent for entry in certify_range(params, LEVELS).sums}
    assert bounds["conv2"] == np.abs(params["conv2.bias"]).max()


@dtypes
def test_every_sum_is_judged_in_the_asked_type(dtype, limit):
    params, images, up = ternary_params(1), pixels16(2, 1), np.ones((2, 10), np.float32)
    gradients = {name: Integers(np.ones(shape, np.int64), 0) for name, shape in PARAM_SHAPES.items()}
    for found in (
        certify(params, images, dtype),
        certify_backward(params, images, up, dtype),
        certify_range(params, LEVELS, dtype),
        certify_step(params, params, gradients, STEP, 0.25, dtype),
    ):
        assert {entry.limit for entry in found.sums} == {limit}
    backward = certify_backward(params, images, up, dtype).sums
    assert backward[:5] == certify(params, images, dtype).sums
    wide = params | {"conv1.weight": np.full(PARAM_SHAPES["conv1.weight"], 2.0**62, np.float32)}
    fine = params | {"conv1.weight": np.full(PARAM_SHAPES["conv1.weight"], 2.0**-80, np.float32)}
    refused = certify_step(wide, fine, gradients, STEP, 0.25, dtype).sums[-1]
    assert (refused.name, refused.limit) == ("conv1.weight", limit)
    for found in (certify(wide, images, dtype), certify_backward(wide, images, up, dtype)):
        assert found.digits == 2
        assert (found.sums[-1].limit, found.holds) == (limit, False)
        assert str(found.sums[-1].problem).startswith("conv1 [")
    spread = params["conv1.weight"].copy()
    spread.flat[:2] = 1, 2.0**-100
    apart = certify_range(params | {"conv1.weight": spread}, LEVELS, dtype)
    assert ([entry.limit for entry in apart.sums], apart.holds) == ([limit], False)
    up[:, 0] = 2.0**61
    steep = certify_backward(params, images, up, dtype).sums[-1]
    assert (steep.name, steep.limit, steep.holds) == ("logits.weight", limit, False)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_step_adds_magnitudes_whatever_the_signs_of_its_constants(sign):
    ones = {name: np.ones(shape, np.float32) for name, shape in PARAM_SHAPES.items()}
    gradients = {name: Integers(np.ones(shape, np.int64), 0) for name, shape in PARAM_SHAPES.items()}
    recipe = replace(STEP, momentum=0.5 * sign, weight_decay=0.25 * sign)
    velocity, weight = certify_step(ones, ones, gradients, recipe, 0.5 * sign).sums[:2]
    assert velocity.bound * 2.0**velocity.exponent == 1.75
    assert weight.bound * 2.0**weight.exponent == 1.875


@pytest.mark.parametrize("subnormal", ["w", "v", "none"])
def test_a_step_from_subnormal_numbers_is_not_certified(subnormal):
    """Even where its constants lift every product among the normal numbers."""
    small = {name: np.full(shape, 2.0**-127, np.float32) for name, shape in PARAM_SHAPES.items()}
    zero = {name: np.zeros(shape, np.float32) for name, shape in PARAM_SHAPES.items()}
    gradients = {name: Integers(np.zeros(shape, np.int64), 0) for name, shape in PARAM_SHAPES.items()}
    recipe = replace(STEP, momentum=8.0, weight_decay=8.0)
    w, v = (small if subnormal == one else zero for one in "wv")
    found = certify_step(w, v, gradients, recipe, 1.0)
    assert found.sums[0].normal == (subnormal == "none")


@pytest.mark.parametrize(("weight", "pixel"), [(2.0**-128, 8.0), (8.0, 2.0**-128), (0.25, 0.5)])
def test_a_layer_of_subnormal_numbers_is_not_certified(weight, pixel):
    params = {name: np.zeros(shape, np.float32) for name, shape in PARAM_SHAPES.items()}
    params["conv1.weight"][...] = weight
    first = certify_range(params, np.array([0, pixel], np.float32)).sums[0]
    assert first.exponent >= -126
    assert first.normal == (min(weight, pixel) > 2.0**-126)


def test_large_pixels_do_not_overflow_the_range():
    found = certify_range(ternary_params(2, (0, 1)), np.array([0, 2.0**40 + 2.0**18, 2.0**40], np.float32))
    first = found.sums[0]
    assert first.bound > 2**22
    assert first.bound * 2.0**first.exponent > 2.0**40


def test_what_lies_on_no_grid_is_named():
    params, images, up = ternary_params(3), pixels16(1, 3), np.ones((1, 10), np.float32)
    nan = np.full((1, 10), np.nan, np.float32)
    spread = images.copy()
    spread[0, 0, :2, 0] = 1, 2.0**-100
    gradients = {name: Integers(np.zeros(shape, np.int64), 0) for name, shape in PARAM_SHAPES.items()}
    broken = params | {"conv1.weight": params["conv1.weight"] * np.float32(np.nan)}
    for case, name in (
        (lambda: certify_backward(params, images, nan), "cotangent: a NaN"),
        (lambda: certify_range(params, nan), "pixels: a NaN"),
        (lambda: certify_step(broken, params, gradients, STEP, 0.5), "conv1.weight: a NaN"),
        (lambda: certify_step(params, broken, gradients, STEP, 0.5), "conv1.weight: a NaN"),
    ):
        with pytest.raises(UserError) as refused:
            case()
        assert str(refused.value).startswith(name)
    for case in (lambda: certify(params, spread), lambda: certify_backward(params, spread, up)):
        with pytest.raises(TooWide) as wide:
            case()
        assert wide.value.name == "images"


@pytest.mark.parametrize(
    ("exponent", "finest", "normal"),
    [(-126, -126, True), (-126, -127, False), (104, 0, True), (105, 0, False)],
)
def test_the_last_grids_that_are_normal(exponent, finest, normal):
    """2^-126 is the smallest normal number of float32, and sums stay below 2^128."""
    assert _judge("a sum", exponent, 1, (), "float32", finest).normal == normal
