"""Each mistake of stored weights, added layers and coarse formats by itself: plain NumPy computes it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lenet.diagnose.mistakes import across_layers, data, precision
from lenet.diagnose.mistakes.handed_out import HANDED_OUT
from lenet.diagnose.mistakes.second_look import (
    added_layers,
    rarer,
    rarer_data,
    resized_images,
    stored_weights,
)
from lenet.diagnose.mistakes.wrong_forward import Gridded, call_of
from lenet.diagnose.mistakes.wrong_forward import right as right_layer
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT64, gamma
from tests.lenet.diagnose.plain.network import Array, convolved, drawn, input_of, own, pooled, right, wide
from tests.lenet.diagnose.plain.words import check_kinds
from tests.parity.operators.one_node import check_inside

X = np.random.default_rng(0).integers(0, 256, (2, 1, 28, 28)) / 255
Change = Callable[[Array], Array]


def test_what_the_catalogue_says_of_the_forward_pass():
    families = (data, rarer_data, across_layers, precision, added_layers, stored_weights, resized_images)
    check_kinds(*(one.kind for family in families for one in family.FAMILY.mistakes))
    check_kinds(*(one.kind for one in HANDED_OUT))


def texts(style: str) -> Change:
    """Through text with these digits."""
    return lambda w: np.array([float(format(float(a), style)) for a in w.ravel()]).reshape(w.shape)


def grid(step: float, whole: Change) -> Change:
    return lambda w: whole(w / step) * step


def integers(levels: int, by_row: bool, dtype: str = "float32") -> Change:
    def change(w: Array) -> Array:
        rows = w.astype(dtype).reshape(len(w) if by_row else 1, -1)
        step = np.abs(rows).max(1, keepdims=True) / rows.dtype.type(levels)
        return (np.rint(rows / step) * step).reshape(w.shape).astype(np.float64)

    return change


def smallest(count: Callable[[int], int]) -> Change:
    def change(w: Array) -> Array:
        limit = np.sort(np.abs(w), axis=None)[count(w.size)]
        return np.where(np.abs(w) < limit, 0, w)

    return change


def per_row(change: Change) -> Change:
    return lambda w: np.stack([change(row) for row in w])


STORED: dict[str, Change] = {
    "rounded to 2 decimals": texts(".2f"),
    "rounded to 6 decimals": texts(".6f"),
    "cut off after 3 decimals": lambda w: np.trunc(w * 1000) / 1000,
    "rounded to 3 significant digits": texts(".3g"),
    "rounded to 6 significant digits": texts(".6g"),
    "rounded to multiples of 2^-5": grid(2**-5, np.rint),
    "cut off to multiples of 2^-4": grid(2**-4, np.trunc),
    "rounded down to multiples of 2^-6": grid(2**-6, np.floor),
    "without their sign": np.abs,
    "reduced to their sign": np.sign,
    "reduced to their sign times the mean magnitude": lambda w: np.sign(w) * np.abs(w).mean(),
    "without their negative values": lambda w: w * (w > 0),
    "clipped to ±0.05": lambda w: np.sign(w) * np.minimum(np.abs(w), 0.05),
    "pruned below 0.02": lambda w: w * (np.abs(w) >= 0.02),
    "rounded to 4-bit integers: one scale, symmetric": integers(7, False),
    "rounded to 8-bit integers: one scale, symmetric": integers(127, False, "float64"),
    "rounded to 8-bit integers: a scale per output channel, symmetric": integers(127, True, "float64"),
    "rounded to 3-bit integers: a scale per output channel, symmetric": integers(3, True),
    "pruned: the smallest 25%": smallest(lambda n: round(n / 4)),
    "pruned: the smallest 90%": smallest(lambda n: round(0.9 * n)),
    "pruned: the smaller half, below the median": smallest(lambda n: n // 2 - 1),
    "standardised for each output": per_row(lambda w: (w - w.mean()) / w.std()),
    "of norm 1 for each output": per_row(lambda w: w / np.linalg.norm(w)),
    "divided by their spectral norm": lambda w: w / np.linalg.svd(w.reshape(len(w), -1))[1][0],
    "multiplied by √(2 / inputs)": lambda w: w * np.sqrt(2 / w[0].size),
    "multiplied by 1 / √inputs": lambda w: w / np.sqrt(w[0].size),
    "reduced to their sign times the mean magnitude of each output": per_row(
        lambda w: np.sign(w) * np.abs(w).mean()
    ),
}


@pytest.mark.parametrize("name", STORED)
def test_changed_weights_give_what_plain_numpy_computes(name):
    mistake = next(
        m
        for m in stored_weights.FAMILY.mistakes
        if m.kind.name == f"weights {name}" and m.stages == ("conv1",)
    )
    params = wide(drawn(3, 0.5))
    w, b = own("conv1", params)
    x = input_of("conv1", 1, 2)
    found = mistake.changes["conv1"](right_layer)(
        call_of("conv1", Bounded(x, None, FLOAT64), params, "float64")
    )
    check_inside(found, right("conv1", x, STORED[name](w), b), name)


def test_float8_has_its_bits_its_smallest_and_its_largest_numbers():
    for name, bits, least, largest in (("e4m3", 4, -6, 448.0), ("e5m2", 3, -14, 57344.0)):
        change = stored_weights._float8(bits, least, largest)
        numbers = np.array(
            [2.0**e * (1 + k / 2 ** (bits - 1)) for e in range(least, 6) for k in range(2 ** (bits - 1))]
        )
        small = 2.0 ** (least - bits + 1) * np.arange(2 ** (bits - 1))
        every = np.concatenate([small, numbers])
        assert (change(every) == every).all(), name
        between = (every[:-1] + every[1:]) / 2
        off = np.array([change(a * (1 + 1e-6)) for a in between])
        assert (off == every[1:]).all(), name
        assert change(np.array([1e9, -1e9])).tolist() == [largest, -largest]


def test_biases_or_all_parameters_are_changed_too():
    params = wide(drawn(3, 0.5))
    w, b = own("fc2", params)
    x = input_of("fc2", 1, 2)
    for what, expected in (
        ("parameters", right("fc2", x, np.round(w, 2), np.round(b, 2))),
        ("biases", right("fc2", x, w, np.round(b, 2))),
    ):
        mistake = next(
            m
            for m in stored_weights.FAMILY.mistakes
            if m.kind.name == f"{what} rounded to 2 decimals" and m.stages == ("fc2",)
        )
        found = mistake.changes["fc2"](right_layer)(call_of("fc2", Bounded(x), params, "float64"))
        check_inside(found, expected, what)
    assert mistake.tier == stored_weights.SELDOM


def test_many_stages_are_tried_with_what_a_file_does_alone():
    few, many = (list(rarer(stages)) for stages in (("conv2",), tuple("abcdefgh")))
    assert len(few) > len(many)
    left_out = {m.kind.name for m in few} - {m.kind.name for m in many}
    assert "biases rounded to 2 decimals" in left_out
    kept = [m for m in many if m.kind.name == "weights rounded to 2 decimals"]
    assert [len(m.stages) for m in kept] == [5]
    assert {len(m.stages) for m in many if m.kind.name == "weights pruned: the smallest 50%"} == {2, 3, 5}
    assert {len(m.stages) for m in many if m.kind.name == "weights of the first call"} >= {1, 2, 5}
    assert {m.stages for m in many if m.kind.name == "weights zero"} >= {("fc2",)}


# --- added layers, other windows, other orders -----------------------------------------------------


def normed(axes: tuple[int, ...], eps: float) -> Change:
    return lambda x: (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def across(size: int, alpha: float, beta: float, bias: float) -> Change:
    """Local response normalization, as in Krizhevsky et al. 2012, alpha divided by the size."""

    def change(x: Array) -> Array:
        total = np.zeros(x.shape)
        for c in range(x.shape[1]):
            some = x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1]
            total[:, c] = (some**2).sum(1)
        return x / (bias + alpha / size * total) ** beta

    return change


ADDED: dict[tuple[str, str], Change] = {
    ("batch norm in training mode, behind ReLU", "relu1"): normed((0, 2, 3), 1e-3),
    ("layer norm, behind ReLU", "relu1"): normed((1, 2, 3), 1e-3),
    ("layer norm, behind ReLU", "relu4"): normed((1,), 1e-3),
    ("instance norm, behind ReLU", "relu1"): normed((2, 3), 1e-3),
    ("batch norm in training mode", "fc2"): normed((0,), 1e-3),
    ("batch norm with untrained statistics, epsilon 0.001", "fc2"): lambda x: x / np.sqrt(1.001),
    ("local response normalization (PyTorch's and Caffe's numbers)", "relu1"): across(5, 1e-4, 0.75, 1.0),
    ("local response normalization (AlexNet's numbers)", "pool1"): across(5, 5e-4, 0.75, 2.0),
    ("maps turned by 180 degrees", "pool1"): lambda y: y[:, :, ::-1, ::-1],
    ("maps with height and width exchanged", "pool1"): lambda y: y.swapaxes(2, 3),
    ("maps reshaped from NHWC to NCHW, not transposed", "pool1"): lambda y: y.transpose(0, 2, 3, 1).reshape(
        y.shape
    ),
    ("maps reshaped from NCHW to NHWC, not transposed", "pool1"): lambda y: np.moveaxis(
        y.reshape(len(y), *y.shape[2:], y.shape[1]), 3, 1
    ),
}


@pytest.mark.parametrize(("name", "layer"), ADDED)
def test_an_added_layer_gives_what_plain_numpy_computes(name, layer):
    some = [m for m in added_layers.FAMILY.mistakes if m.kind.name == name and m.stages == (layer,)]
    params, x = wide(drawn(3)), input_of(layer, 1, 4)
    expected = ADDED[name, layer](right(layer, x, *own(layer, params)))
    call = call_of(layer, Bounded(x), params, "float64")
    found = some[0].changes[layer](right_layer)(call)
    check_inside(found, expected, name)
    # The widest bound is a thirtieth of this, over four digits alike: it only shows one that is far wider.
    assert found.bound.max() <= gamma(2**20, FLOAT64.u) * max(1, np.abs(expected).max()), name
    if "norm" in name and "local" not in name:
        unsure = replace(call, x=Bounded(x, np.full(x.shape, 1e-6)))
        carried = some[0].changes[layer](right_layer)(unsure)
        for sign in (1, -1):
            side = sign * np.random.default_rng(2).choice([-1e-6, 1e-6], x.shape)
            moved = ADDED[name, layer](right(layer, x + side, *own(layer, params)))
            assert (np.abs(moved - carried.value) <= carried.bound).all()


BY_TEXT = sorted(range(84), key=str)
ROWS = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"  # LeCun et al. 1998
C3 = np.array([[str(k) in row for k in range(6)] for row in ROWS.split()])[:, :, None, None]
GIVEN: dict[tuple[str, str], Callable[[Array, Array, Array], tuple[Array, Array, Array]]] = {
    ("connection table of LeNet-5's C3", "conv2"): lambda x, w, b: (x, w * C3, b),
    ("bias sorted as text", "fc2"): lambda x, w, b: (x, w, b[BY_TEXT]),
    ("weights: outputs sorted as text", "fc2"): lambda x, w, b: (x, w[BY_TEXT], b),
    ("weights and bias: outputs sorted as text", "fc2"): lambda x, w, b: (x, w[BY_TEXT], b[BY_TEXT]),
    ("weights: inputs sorted as text", "logits"): lambda x, w, b: (x, w[:, BY_TEXT], b),
    ("maps reshaped from NHWC to NCHW, not transposed", "conv2"): lambda x, w, b: (
        x.transpose(0, 2, 3, 1).reshape(x.shape),
        w,
        b,
    ),
    ("local response normalization (of three channels numbers)", "conv2"): lambda x, w, b: (
        across(3, 1e-4, 0.75, 1.0)(x),
        w,
        b,
    ),
}


@pytest.mark.parametrize(("name", "layer"), GIVEN)
def test_a_layer_that_is_given_something_else_returns_what_plain_numpy_computes(name, layer):
    mistake = next(m for m in added_layers.FAMILY.mistakes if m.kind.name == name and m.stages == (layer,))
    params, x = wide(drawn(3)), input_of(layer, 1, 4)
    found = mistake.changes[layer](right_layer)(call_of(layer, Bounded(x), params, "float64"))
    check_inside(found, right(layer, *GIVEN[name, layer](x, *own(layer, params))), name)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("(2, h/2, 2, w/2): pixels half a map apart", [(0, 0), (0, 4), (4, 0), (4, 4)]),
        ("(h/2, 2, 2, w/2)", [(0, 0), (0, 4), (1, 0), (1, 4)]),
        ("(2, h/2, w/2, 2)", [(0, 0), (0, 1), (4, 0), (4, 1)]),
    ],
)
def test_a_maximum_over_a_reshape_takes_these_pixels(name, cells):
    mistake = next(
        m for m in added_layers.FAMILY.mistakes if m.kind.name == f"maximum over a reshape to {name}"
    )
    x = input_of("pool1", 0, 2)
    found = mistake.changes["pool1"](right_layer)(call_of("pool1", Bounded(x, 0.5 + 0 * x), {}, "float64"))
    assert found.value.shape == (2, 6, 4, 4)
    assert (found.bound == 0.5).all()
    corner = np.max([x[:, :, row, column] for row, column in cells], axis=0)
    assert (found.value[:, :, 0, 0] == corner).all()


def test_images_are_resized_as_by_hand():
    """Bilinear with half-pixel centres, and the corners and the middle of the others."""
    params = wide(drawn(2))
    w, b = own("conv1", params)
    centre = np.clip((np.arange(32) + 0.5) * 28 / 32 - 0.5, 0, 27)
    matrix = np.maximum(1 - np.abs(centre[:, None] - np.arange(28)), 0)
    some = {m.kind.name.partition(": ")[2]: m for m in resized_images.FAMILY.mistakes}
    call = call_of("conv1", Bounded(X), params, "float64")
    found = some["bilinear"].changes["conv1"](right_layer)(call)
    check_inside(found, convolved(matrix @ X @ matrix.T, w, b, 0), "bilinear")
    corners = np.arange(32) * 27 / 31
    matrix = np.maximum(1 - np.abs(corners[:, None] - np.arange(28)), 0)
    found = some["bilinear, align_corners"].changes["conv1"](right_layer)(call)
    check_inside(found, convolved(matrix @ X @ matrix.T, w, b, 0), "corners")
    nearest = X[:, :, np.arange(32) * 28 // 32][..., np.arange(32) * 28 // 32]
    check_inside(some["nearest"].changes["conv1"](right_layer)(call), convolved(nearest, w, b, 0), "nearest")
    for name in resized_images.MATRICES:
        rows = resized_images.MATRICES[name]
        assert np.abs(rows.sum(1) - 1).max() < 1e-12, name  # what is constant stays so
    ramp = np.arange(28.0)
    cubic = resized_images.MATRICES["bicubic (a = −0.5)"] @ ramp**2  # exact for parabolas away from the edge
    assert np.abs(cubic[3:-3] - centre[3:-3] ** 2).max() < 1e-10
    other = resized_images.MATRICES["bicubic (a = −0.75)"]
    t = centre[10] - np.floor(centre[10])
    assert abs(other[10, int(centre[10]) - 1] - -0.75 * (t**3 - 2 * t**2 + t)) < 1e-12
    small = call_of("conv1", Bounded(X[:, :, :8, :8]), params, "float64")
    with pytest.raises(ValueError, match="another size"):
        some["bilinear"].changes["conv1"](right_layer)(small)


def test_numbers_as_text_are_sorted_as_files_are():
    assert added_layers.by_text(12).tolist() == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_bias_added_later_is_added_with_its_rounding():
    params = wide(drawn(3))
    x = input_of("relu1", 1, 2)
    name = "bias added again after the activation"
    mistake = next(m for m in across_layers.FAMILY.mistakes if m.kind.name == name and m.stages == ("relu1",))
    found = mistake.changes["relu1"](right_layer)(call_of("relu1", Bounded(x), params, "float64"))
    expected = np.maximum(x, 0) + params["conv1.bias"][:, None, None]
    check_inside(found, expected)
    assert (found.bound <= 4 * FLOAT64.u * np.abs(expected)).all()
    assert (found.bound > 0).mean() > 0.9
    mistake = next(m for m in across_layers.FAMILY.mistakes if m.kind.name == "average pooling before ReLU")
    mean = x.reshape(2, 6, 4, 2, 4, 2).mean((3, 5))
    found = mistake.changes["pool1"](right_layer)(call_of("pool1", Bounded(x), params, "float64"))
    check_inside(found, np.maximum(mean, 0))
    assert not np.array_equal(np.maximum(mean, 0), pooled(np.maximum(x, 0)))


def test_float32_in_a_float64_port_is_on_the_grid_of_float32():
    mistake = next(
        m
        for m in precision.FAMILY.mistakes
        if m.kind.name == "float32 in a float64 port" and m.stages == ("fc2",)
    )
    params, x = wide(drawn(3)), input_of("fc2", 1, 2)
    found = mistake.changes["fc2"](right_layer)(call_of("fc2", Bounded(x), params, "float64"))
    assert isinstance(found, Gridded)
    w, b = (a.astype(np.float32) for a in own("fc2", params))
    single = (x.astype(np.float32) @ w.T + b).astype(np.float64)
    check_inside(found, single)
    assert (found.grid(single) == single).all()
    assert (found.coarser(single) != single).any()
    with pytest.raises(ValueError, match="only float32"):
        mistake.changes["fc2"](right_layer)(call_of("fc2", Bounded(x), params, "float32"))
