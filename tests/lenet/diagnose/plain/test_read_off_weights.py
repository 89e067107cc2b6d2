"""Other weights of a convolution or a dense layer are read off from its input and its output."""

import re

import numpy as np
import pytest

from lenet.diagnose.mistakes.second_look.shown import listed
from tests.lenet.diagnose.plain.network import Array, Layer, Wrong, drawn, own, right, wide

RNG = np.random.default_rng(42)
ORDER = {size: RNG.permutation(size) for size in (5, 6, 10, 16, 84)}
OWN = wide(drawn(99))  # parameters that a layer was created with
UP = np.linspace(0.5, 1.5, 16)
GROUPED = (np.arange(16)[:, None] // 8 == np.arange(6) // 3)[:, :, None, None]
CROSS = np.ones((5, 5))
CROSS[[0, 0, -1, -1], [0, -1, 0, -1]] = 0
MASK = RNG.random((6, 1, 5, 5)) < 0.9


def of(name: str, change=None, bias=None) -> Layer:
    """The layer with other weights, another bias, or both."""
    return lambda x, w, b: right(name, x, change(w) if change else w, bias(b) if bias else b)


def created(name: str) -> Layer:
    return lambda x, w, b: right(name, x, *own(name, OWN))


FIRST: dict[str, Layer] = {
    f"weights: filters in another order: {listed(ORDER[6])}": of("conv1", lambda w: w[ORDER[6]]),
    f"weights: rows of the kernels in another order: {listed(ORDER[5])}": of(
        "conv1", lambda w: w[:, :, ORDER[5]]
    ),
    f"weights: columns of the kernels in another order: {listed(ORDER[5])}": of(
        "conv1", lambda w: w[..., ORDER[5]]
    ),
    "weights: one of the filters repeated: 3": of("conv1", lambda w: np.repeat(w[3:4], 6, 0)),
    "weights in other places: 149, 148, 147, 146, 145, 144, 143, 142, 141, 140, 139, 138, …": of(
        "conv1", lambda w: w.ravel()[::-1].reshape(w.shape)
    ),
    "weights: places of the kernels zero: 0, 4, 20, 24": of("conv1", lambda w: w * CROSS),
    f"weights: {int((~MASK).sum())} of 150 set to zero": of("conv1", lambda w: w * MASK),
    "weights not loaded": created("conv1"),
}
SECOND: dict[str, Layer] = {  # slower: it has sixteen times as many weights
    f"weights: input channels in another order: {listed(ORDER[6])}": of("conv2", lambda w: w[:, ORDER[6]]),
    "weights: one of the input channels repeated: 2": of("conv2", lambda w: np.repeat(w[:, 2:3], 6, 1)),
    "weights: kernels zero between channels: 48 of 96": of("conv2", lambda w: w * GROUPED),
    "weights: input channels multiplied by 0.5, 0.566667, 0.633333, 0.7, 0.766667, 0.833333": of(
        "conv2", lambda w: w * UP[:6, None, None]
    ),
    "weights: a factor for each kernel": of("conv2", lambda w: w * np.outer(UP, UP[:6])[:, :, None, None]),
}
DENSE: dict[str, tuple[str, Layer]] = {
    f"weights: rows in another order: {listed(ORDER[84])}": ("fc2", of("fc2", lambda w: w[ORDER[84]])),
    "weights: rows zero for outputs 3, 7": (
        "fc2",
        of("fc2", lambda w: w * ~np.isin(np.arange(84), (3, 7))[:, None]),
    ),
    "inputs ignored: 80, 81, 82, 83": ("logits", of("logits", lambda w: w * (np.arange(84) < 80))),
    "inputs multiplied by factors of their own: 0.5, 2.5, 0.0": (
        "logits",
        of("logits", lambda w: w * np.select([np.arange(84) == k for k in (3, 5, 9)], [0.5, 2.5, 0.0], 1.0)),
    ),
    "weights: columns moved by 42 places": ("fc2", of("fc2", lambda w: np.roll(w, 42, axis=1))),
    "weights: columns moved by 119 places": ("fc2", of("fc2", lambda w: np.roll(w, 119, axis=1))),
    "weights: columns in C, W, H order": (
        "fc1",
        of("fc1", lambda w: w.reshape(120, 16, 5, 5).swapaxes(2, 3).reshape(120, 400)),
    ),
    "weights: columns in H, W, C order": (
        "fc1",
        of("fc1", lambda w: w.reshape(120, 16, 5, 5).transpose(0, 2, 3, 1).reshape(120, 400)),
    ),
    "weights: columns from H, W, C order": (
        "fc1",
        of("fc1", lambda w: w.reshape(120, 5, 5, 16).transpose(0, 3, 1, 2).reshape(120, 400)),
    ),
}
BIASES: dict[str, tuple[str, Layer]] = {
    "bias multiplied by 0.1": ("fc2", of("fc2", bias=lambda b: b * 0.1)),
    "bias zero in channels 80, 81, 82, 83": ("fc2", of("fc2", bias=lambda b: b * (np.arange(84) < 80))),
    f"bias in another order: {listed(ORDER[10])}": ("logits", of("logits", bias=lambda b: b[ORDER[10]])),
    "bias not loaded": ("logits", of("logits", bias=lambda b: OWN["logits.bias"])),
    "result multiplied by 0.8": ("fc2", lambda x, w, b: 0.8 * (x @ w.T + b)),
    "result multiplied by 1/784": ("conv1", lambda x, w, b: right("conv1", x, w, b) / 784),
    "weights multiplied by 0.5": ("fc2", of("fc2", lambda w: 0.5 * w)),
    "0.1 added to the result": ("conv1", lambda x, w, b: right("conv1", x, w, b) + 0.1),
    "channels multiplied by 0.5, 0.5667, 0.6333, 0.7, 0.7667, 0.8333": (
        "conv1",
        lambda x, w, b: right("conv1", x, w, b) * UP[:6, None, None],
    ),
    "channels multiplied by 0.5, 0.5667, 0.6333, 0.7, 0.7667, 0.8333 and shifted": (
        "conv1",
        lambda x, w, b: right("conv1", x, w, b) * UP[:6, None, None] + UP[5::-1, None, None],
    ),
    "numbers added to the channels: 0.5, 0.5667, 0.6333, 0.7, 0.7667, 0.8333": (
        "conv1",
        lambda x, w, b: right("conv1", x, w, b) + UP[:6, None, None],
    ),
}


@pytest.mark.parametrize("name", FIRST)
def test_weights_of_the_first_convolution_are_read_off(name):
    Wrong("conv1", FIRST[name]).is_read_off_as(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SECOND)
def test_weights_of_the_second_convolution_are_read_off(name):
    Wrong("conv2", SECOND[name]).is_read_off_as(name)


@pytest.mark.parametrize("name", DENSE)
def test_weights_of_a_dense_layer_are_read_off(name):
    layer, wrong = DENSE[name]
    Wrong(layer, wrong, digits=16).is_read_off_as(name)


@pytest.mark.parametrize("name", BIASES)
def test_lines_of_the_output_and_other_biases_are_read_off(name):
    layer, wrong = BIASES[name]
    Wrong(layer, wrong, digits=8).is_read_off_as(name)


def test_a_bias_of_another_layer_is_read_off():
    wrong = Wrong("logits", lambda x, w, b: right("logits", x, w, b), digits=8)
    for one in wrong.shown.examples:
        params = one.params
        one.seen[...] += np.float32(params["fc1.bias"][5]) - params["logits.bias"][5] * (np.arange(10) == 5)
        one.seen[:, np.arange(10) != 5] -= np.float32(params["fc1.bias"][5])
    assert "bias of another layer in some channels" in wrong.found


def test_a_convolution_that_keeps_its_weights_may_have_loaded_its_bias():
    Wrong("conv1", of("conv1", lambda w: OWN["conv1.weight"])).is_read_off_as("weights not loaded")


@pytest.mark.parametrize("name", ["fc1", "fc2"])
def test_a_dense_layer_that_was_not_loaded_shows_where_all_is_faint(name):
    wrong = Wrong(name, created(name), digits=8, sizes=(1.0, 1.0, 1e-6))
    faint = wrong.shown.examples[2]
    faint.x.value[...] *= 1e-6
    faint.seen[...] = right(name, faint.x.value, *own(name, OWN)).astype(np.float32)
    wrong.is_read_off_as("weights not loaded", elsewhere=False)
    assert "weights not loaded" not in Wrong(name, created(name), digits=8).found  # no probe is faint


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv1", "conv2", "fc1", "fc2", "logits", "relu1", "relu4", "pool1"])
def test_nothing_is_read_off_from_noise_or_from_right_values(name):
    def noise(x: Array, w: Array, b: Array) -> Array:
        y = right(name, x, w, b)
        return y + np.random.default_rng(int(y.size)).standard_normal(y.shape)

    for wrong in (noise, lambda x, w, b: right(name, x, w, b)):
        some = Wrong(name, wrong).found  # multiples are told of any values, and images have their own tests
        assert [one for one in some if not re.search("multiples|pixels|gamma|digit", one)] == []


def test_what_differs_between_calls_is_not_read_off():
    """The second probe has the right values, or those of another order."""
    for change in (lambda w: w[ORDER[6]], lambda w: 0.5 * w, lambda w: w * CROSS):
        wrong = Wrong("conv1", of("conv1", change))
        one = wrong.shown.examples[1]
        one.seen[...] = one.right.value
        assert [name for name in wrong.found if "pixels" not in name] == []
